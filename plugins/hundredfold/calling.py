"""Whether a worker waits for the coordinator at this moment: it says so, and its host can see it.

In the name of its main thread: that costs the worker a microsecond and the host nothing until it looks, which it does
before it ends a worker for its time. What an agent has finished while no coordinator was there is not to be lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hundredfold import prctl

_CALLING: Final = b"hundredfold:rpc"


@contextmanager
def calling() -> Iterator[None]:
    """Say so while the block runs."""
    otherwise = prctl.thread_name()
    prctl.set_thread_name(_CALLING)
    try:
        yield
    finally:
        prctl.set_thread_name(otherwise)


def is_calling(pid: int) -> bool:
    """Whether a process says so; False if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_bytes().rstrip() == _CALLING
    except (FileNotFoundError, ProcessLookupError):
        return False
