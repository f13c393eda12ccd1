"""What a process can say of itself: its title, its threads."""

import os
import threading

import setproctitle
from hundredfold.waiting import WAITING, WORKING


def set_title(title: str) -> None:
    """Set what `ps` shows for this process."""
    setproctitle.setproctitle(title)


class Title:
    """The title of a worker: what it runs, and whether it waits for the coordinator."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._thread = threading.get_ident()

    def change(self, what: str) -> None:
        """Run something else from here on."""
        self._what = what

    def show(self, waits: bool) -> None:  # noqa: FBT001  # as `Channel.on_wait`
        """Say whether it waits. What another thread waits for holds nothing up."""
        if threading.get_ident() == self._thread:
            set_title((WAITING if waits else WORKING) + self._what)


def thread_count() -> int:
    """Return the number of threads of this process, native ones included."""
    return os.stat("/proc/self/task").st_nlink - 2  # noqa: PTH116  # before every fork; a listing costs four calls
