"""The zygote: the warm, single-threaded parent of one environment.

It imports the environment's plugins once, sends their manifest, freezes its memory, and forks a worker for every
request of its host. It creates no gRPC object and starts no thread, because a fork copies neither soundly; where
plugins do start threads, it becomes the first worker itself. It reaps on request only, so that a pid means the same
process for as long as the host may be looking it up.

See also: `hundredfold_worker.preload` for what is imported, `hundredfold_worker.bootstrap` for what follows a fork.
"""

import contextlib
import gc
import os
import socket
import sys
from typing import Final, Never

from hundredfold import prctl
from hundredfold.internal.v1 import zygote_pb2

from hundredfold_worker import bootstrap, memory, preload, process

_PACKET: Final = 256 * 1024
_SLOW: Final = (
    "its plugins start threads at import, which a fork would not copy: every worker is a fresh interpreter that "
    "imports them again, which is slow; start threads inside the behaviour"
)
_DESCRIPTORS: Final = 5  # as many as `Fork` may bring


class Zygote:
    """A zygote that talks to its host over `channel`, one protobuf message per packet."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def serve(self) -> None:
        """Preload, report, then fork and reap on request until the host closes the channel."""
        prctl.die_with_parent()
        request, _ = self._receive()
        self._preload = request.preload
        bootstrap.prepare(self._preload)
        process.set_title(f"hundredfold: zygote {self._preload.environment}")
        environment, self._behaviours, self._embedders = preload.preload(self._preload)
        single_use = process.thread_count() > 1
        if single_use:
            environment.warning = _SLOW
        self._send_ready(environment.SerializeToString(), single_use=single_use)
        if single_use:
            self._become_first_worker()
        # Everything imported so far moves out of the collector's sight: a collection in a child would touch, and so
        # copy, every page of it.
        gc.collect()
        gc.freeze()
        memory.collapse()
        while True:
            request, descriptors = self._receive()
            if request.HasField("fork"):
                self._fork(request.fork, descriptors)
            elif request.HasField("reap"):
                self._reap(request.reap.pid)

    def _receive(self) -> tuple[zygote_pb2.ZygoteRequest, list[int]]:
        data, descriptors, _, _ = socket.recv_fds(self._channel, _PACKET, _DESCRIPTORS)
        if not data:
            sys.exit(0)  # the host is gone; workers belong to it, not to this process
        return zygote_pb2.ZygoteRequest.FromString(data), descriptors

    def _send(self, reply: zygote_pb2.ZygoteReply, descriptors: tuple[int, ...] = ()) -> None:
        socket.send_fds(self._channel, [reply.SerializeToString()], descriptors)

    def _send_ready(self, manifest: bytes, *, single_use: bool) -> None:
        # A manifest can be larger than a packet, so it travels as a file.
        descriptor = os.memfd_create("manifest")
        with os.fdopen(descriptor, "wb") as file:
            file.write(manifest)
            file.flush()
            self._send(zygote_pb2.ZygoteReply(ready=zygote_pb2.Ready(single_use=single_use)), (descriptor,))

    def _become_first_worker(self) -> Never:
        """Run an attempt in this very process, with the threads that its plugins have started."""
        request, descriptors = self._receive()
        prctl.outlive_parent()  # as other workers do: what it has started would be nobody's if it died alone
        forked = zygote_pb2.Forked(attempt=request.fork.attempt, pid=os.getpid())
        self._send(zygote_pb2.ZygoteReply(forked=forked))
        self._become_worker(request.fork, descriptors)

    def _fork(self, request: zygote_pb2.Fork, descriptors: list[int]) -> None:
        if process.thread_count() > 1:
            sys.exit("a plugin has started a thread after its import; this zygote ends, and the next one looks again")
        try:
            pid = os.fork()
        except OSError as error:
            reply = zygote_pb2.ZygoteReply(
                fork_failed=zygote_pb2.ForkFailed(attempt=request.attempt, reason=f"fork: {error.strerror}")
            )
        else:
            if pid == 0:
                self._become_worker(request, descriptors)
            reply = zygote_pb2.ZygoteReply(forked=zygote_pb2.Forked(attempt=request.attempt, pid=pid))
        # Closed before the next fork, so that no worker inherits the credential or the output of another.
        for descriptor in descriptors:
            os.close(descriptor)
        self._send(reply)

    def _become_worker(self, request: zygote_pb2.Fork, descriptors: list[int]) -> Never:
        try:
            self._channel.close()
            bootstrap.run(self._preload, request, descriptors, self._behaviours, self._embedders)
        except BaseException:  # noqa: BLE001  # nothing may return into the zygote's loop
            with contextlib.suppress(BaseException):
                sys.excepthook(*sys.exc_info())
                sys.stderr.flush()
        finally:
            os._exit(bootstrap.EXIT_BROKEN)

    def _reap(self, pid: int) -> None:
        _, status, usage = os.wait4(pid, 0)
        self._send(
            zygote_pb2.ZygoteReply(
                reaped=zygote_pb2.Reaped(
                    pid=pid,
                    status=status,
                    max_rss_bytes=usage.ru_maxrss * 1024,
                    cpu_seconds=usage.ru_utime + usage.ru_stime,
                )
            )
        )
