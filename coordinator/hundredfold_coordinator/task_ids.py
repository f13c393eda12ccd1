"""Ids of tasks: unique, and in the order of submission, whatever the clock of the machine does.

The order of ids is the order of the queue. A clock that is set back must let no new task overtake those that wait.
"""

from ulid import ULID

from hundredfold_coordinator import keys
from hundredfold_coordinator.storage import Storage


class TaskIds:
    """Gives ids, every one higher than the last; the first one is higher than `newest`."""

    def __init__(self, newest: str = "") -> None:
        self._last = int(ULID.from_str(newest)) if newest else 0

    def next(self) -> str:
        """Return a new id: a ULID of this moment, or the next one after the last, if the clock was set back."""
        self._last = max(int(ULID()), self._last + 1)
        return str(ULID.from_int(self._last))


async def take_up_ids(storage: Storage) -> TaskIds:
    """Go on behind the newest task of the store."""
    newest = await storage.scan(keys.TASK, limit=1, reverse=True)
    return TaskIds(newest[0].key.removeprefix(keys.TASK).decode() if newest else "")
