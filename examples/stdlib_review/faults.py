"""The faults that the tool API is given on purpose, the same ones in every run with the same seed.

See also: `tool_api.py`, which acts them out.
"""

import threading
from collections import Counter
from enum import StrEnum
from hashlib import sha256
from typing import Final, final


class Fault(StrEnum):
    """What happens to a call instead of an answer at once."""

    LATE = "answered late"
    SILENT = "never answered"
    BUSY = "503 once"
    BROKEN = "503 every time"


_SHARES: Final = {Fault.LATE: 0.045, Fault.SILENT: 0.03, Fault.BUSY: 0.04, Fault.BROKEN: 0.015}
"""Of all paths; a broken one is called three times."""

_ONLY_ONCE: Final = (Fault.SILENT, Fault.BUSY)


@final
class Faults:
    """Decides for each call, and counts.

    Attributes:
        calls: how many there were.
        struck: how many of them met which fault.

    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self.calls = 0
        self.struck: Counter[Fault] = Counter()

    def strike(self, path: str) -> Fault | None:
        """Return what is to happen to a call."""
        fault = self._planned(path)
        with self._lock:
            self.calls += 1
            if path in self._seen and fault in _ONLY_ONCE:
                fault = None
            self._seen.add(path)
            if fault:
                self.struck[fault] += 1
        return fault

    def _planned(self, path: str) -> Fault | None:
        """Return the fault of a path: chance, but the same in every run."""
        chance = int.from_bytes(sha256(f"{self._seed} {path}".encode()).digest()[:8]) / 2**64
        for fault, share in _SHARES.items():
            if chance < share:
                return fault
            chance -= share
        return None
