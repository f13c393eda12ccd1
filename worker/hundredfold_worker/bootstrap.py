"""The first moments of a worker: from a fork of the zygote to a process of its own, then its work, then the end.

The order matters and is commented where it does. A worker leaves by `os._exit`: the zygote's `atexit` handlers are not
its own.
"""

import contextlib
import os
import resource
import signal
import sys
from typing import Any, Final, Never

from hundredfold import oom, prctl
from hundredfold.behaviour import Behaviour
from hundredfold.embedder import Embedder
from hundredfold.identity import descends_from
from hundredfold.internal.v1 import zygote_pb2

from hundredfold_worker import process
from hundredfold_worker.channel import Channel, Refused
from hundredfold_worker.runner import Cancelled
from hundredfold_worker.shift import work

EXIT_DELIVERED: Final = 0
EXIT_FAILED: Final = 1
EXIT_REFUSED: Final = 3
EXIT_BROKEN: Final = 70

_SECRET_LIMIT: Final = 4096
_host = 0
"""The host that the zygote belongs to."""


def prepare(preload: zygote_pb2.Preload) -> None:
    """Do once, in the zygote, what every worker would have to do for itself otherwise: all of this is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(preload.open_files, hard), hard))
    global _host  # noqa: PLW0603  # every worker inherits it
    _host = os.getppid()
    oom.offer()  # the zygote, too: its death costs no attempt, a host's would cost all


def run(
    preload: zygote_pb2.Preload,
    request: zygote_pb2.Fork,
    descriptors: list[int],
    behaviours: dict[str, Behaviour[..., Any]],
    embedders: dict[str, Embedder],
) -> Never:
    """Run the attempt in this process, and others if it is to stay, and end it."""
    title = process.Title(f"{request.behaviour} {request.attempt.task_id}/{request.attempt.number}")
    channel = Channel(preload.worker_address, _separate(descriptors), on_wait=title.show, is_orphan=_is_orphan)
    if request.descriptors:
        _limit_descriptors(request.descriptors)
    try:
        delivered = work(channel, behaviours, embedders, title.change)
        code = EXIT_DELIVERED if delivered else EXIT_FAILED
    except Refused as refusal:
        sys.stderr.write(f"hundredfold: stopped: {refusal}\n")
        code = EXIT_REFUSED
    except Cancelled:
        _leave_by_signal()
    _leave(code)


def _is_orphan() -> bool:
    """Whether the host is gone: who is left behind by both is nobody's, and what it delivers will not be taken."""
    return not descends_from(os.getpid(), _host)


def _separate(descriptors: list[int]) -> str:
    """Become independent of the zygote; return the credential."""
    credential_fd, stdout_fd, stderr_fd, *cgroup_fds = descriptors
    for descriptor in cgroup_fds:  # first of all: whatever is started from here on is in them
        os.write(descriptor, b"0")
        os.close(descriptor)
    os.setsid()
    prctl.adopt_orphans()
    credential = os.read(credential_fd, _SECRET_LIMIT).decode()
    os.close(credential_fd)
    for source, target in ((stdout_fd, 1), (stderr_fd, 2)):
        os.dup2(source, target)
        os.close(source)
    return credential


def _limit_descriptors(most: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, hard), min(most, hard)))


def _leave(code: int) -> Never:
    for stream in (sys.stdout, sys.stderr):
        if stream:  # a behaviour may have taken it away, or closed it: there is nobody to say it to
            with contextlib.suppress(Exception):
                stream.flush()
    os._exit(code)


def _leave_by_signal() -> Never:
    """End as SIGTERM would have ended this process, had it not been listening."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    _leave(128 + signal.SIGTERM)
