"""Notices hosts that say nothing: stopped, hanging, or starved.

A host measures its machine several times a second and tells what it found, so silence means that it does nothing
else, either. Nothing new is given to a silent one; one that stays silent is killed, and replaced.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from hundredfold_coordinator.core.events import Event, HostHeard
from hundredfold_coordinator.hosts import Hosts

SILENT_SECONDS: Final = 5.0
KILL_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 1.0


class HostWatch:
    """Watches `hosts`; tells `post` of their silence, and calls `kill` with the id of one that will not come back."""

    def __init__(self, hosts: Hosts, post: Callable[[Event], None], kill: Callable[[str], None]) -> None:
        self._hosts = hosts
        self._post = post
        self._kill = kill
        self._silent: set[str] = set()

    async def run(self) -> None:
        """Look once a second, for ever."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
            if time.monotonic() - before > 2 * _LOOK_SECONDS:
                self._hosts.excuse()  # it was this process that did not listen
            self.look()

    def look(self) -> None:
        """Compare what every host last said with the time."""
        silences = self._hosts.silences()
        self._silent &= silences.keys()
        for host_id, seconds in silences.items():
            if (seconds > SILENT_SECONDS) != (host_id in self._silent):
                self._silent ^= {host_id}
                self._post(HostHeard(now_ns=time.time_ns(), host=host_id, silent=host_id in self._silent))
            if seconds > KILL_SECONDS:
                self._kill(host_id)
