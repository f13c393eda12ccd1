"""One process of a zygote, as its host sees it: started by exec, asked over a socket pair, ended when it hangs."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Final

from hundredfold.alarm import Alarm
from hundredfold.internal.v1 import zygote_pb2
from hundredfold.v1 import task_pb2

from hundredfold_host.output import OutputPipe
from hundredfold_host.packets import Packets

IMPORT_SECONDS: Final = 120.0
"""How long importing the plugins may take."""

_ANSWER_SECONDS: Final = 5.0
# numpy and its relatives start threads at import unless they are told not to.
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class ZygoteProcess:
    """A process that imports, then answers each request with one reply.

    One that leaves a request unanswered for 5 s (120 s while it imports) hangs, and is killed.

    Args:
        preload: what it is to import, and for whom.
        on_reply: called with every reply, and the descriptors that came with it.
        on_end: called once, with its wait status as `subprocess` gives it, after the last reply.

    Raises:
        OSError: it cannot be started.

    """

    def __init__(
        self,
        preload: zygote_pb2.Preload,
        on_reply: Callable[[zygote_pb2.ZygoteReply, list[int]], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._on_reply = on_reply
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._unanswered = 0
        self._limit: Alarm | None = None
        self._answer_seconds = IMPORT_SECONDS
        self._output = OutputPipe(task_pb2.OUTPUT_STREAM_STDERR)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = self._spawn(preload.spec.python or sys.executable, theirs.fileno())
        except OSError:
            ours.close()
            self._output.close()
            raise
        finally:
            os.close(self._output.writer)
        self._packets = Packets(ours, self._handle, self._ended)
        self.ask(zygote_pb2.ZygoteRequest(preload=preload))

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The end of what it wrote to its standard output and error."""
        return self._output.tail.decode(errors="replace").strip()

    def ask(self, request: zygote_pb2.ZygoteRequest, descriptors: list[int] | None = None) -> None:
        """Send a request, and close the descriptors that go with it."""
        self._unanswered += 1
        if self._unanswered == 1:
            self._watch()
        self._packets.send(request.SerializeToString(), descriptors)

    def stop(self) -> None:
        """Kill it without another word to anybody."""
        self._close()
        self._process.kill()
        self._process.wait()

    def let_go(self) -> None:
        """Be done with it, for it has become a worker: what ends it and reaps it is elsewhere."""
        self._close()
        self._process.returncode = 0  # or `subprocess` would reap it some day, and its exit code were lost

    def _spawn(self, python: str, channel: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [python, "-P", "-m", "hundredfold_worker", str(channel)],
            stdin=subprocess.DEVNULL,
            stdout=self._output.writer,
            stderr=self._output.writer,
            pass_fds=[channel],
            env={**_ONE_THREAD, **os.environ},
        )

    def _handle(self, data: bytes, descriptors: list[int]) -> None:
        self._unanswered -= 1
        self._answer_seconds = _ANSWER_SECONDS
        self._watch()
        self._on_reply(zygote_pb2.ZygoteReply.FromString(data), descriptors)

    def _watch(self) -> None:
        """Give it its time for the next answer, if there is one to come."""
        if self._limit:
            self._limit.cancel()
        self._limit = Alarm(self._loop, self._answer_seconds, self._kill) if self._unanswered else None

    def _kill(self) -> None:
        self._process.kill()  # a stopped one, too
        self._process.wait()
        # Not left to the end of its channel, which a child of a plugin may hold open. What it has answered counts.
        self._packets.finish()

    def _ended(self) -> None:
        self._close()
        self._process.kill()  # it may have closed its end and live
        self._on_end(self._process.wait())

    def _close(self) -> None:
        if self._limit:
            self._limit.cancel()
        self._packets.close()
        self._output.close()
