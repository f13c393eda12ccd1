"""Pressure stall information: how much of the time what runs was held up, by want of memory, CPU or disk.

Of the daemon's own cgroup where the kernel counts that; else of the machine, where strangers are counted, too. See
https://docs.kernel.org/accounting/psi.html.
"""

import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_host.containment.hierarchies import UNIFIED

_SPAN_SECONDS: Final = 1.0
_MACHINE: Final = Path("/proc/pressure")
_WANTED: Final = (("memory", "some"), ("memory", "full"), ("cpu", "some"), ("io", "full"))
_Totals = tuple[int, ...]


class PressureMonitor:
    """Reads the kernel's totals, and says what share of the last second or so they have grown by."""

    def __init__(self, own: Mapping[str, Path]) -> None:
        cgroup = own.get(UNIFIED)
        if cgroup and (cgroup / "cgroup.type").exists() and (cgroup / "memory.pressure").exists():
            self._files = {name: cgroup / f"{name}.pressure" for name, _ in _WANTED}
            self._scope = pb.PRESSURE_SCOPE_CGROUP
        elif (_MACHINE / "memory").exists():
            self._files = {name: _MACHINE / name for name, _ in _WANTED}
            self._scope = pb.PRESSURE_SCOPE_MACHINE
        else:
            self._files, self._scope = {}, pb.PRESSURE_SCOPE_UNSPECIFIED
        self._history: deque[tuple[float, _Totals]] = deque()

    def sample(self) -> pb.Pressure:
        """Return the pressure since the sample of about a second ago."""
        if not self._scope:
            return pb.Pressure()
        now, totals = time.monotonic(), self._read()
        while len(self._history) > 1 and now - self._history[1][0] >= _SPAN_SECONDS:
            self._history.popleft()
        self._history.append((now, totals))
        then, before = self._history[0]
        if now == then:
            return pb.Pressure(scope=self._scope)
        shares = [(new - old) / 1e6 / (now - then) for new, old in zip(totals, before, strict=True)]
        some, full, cpu, io = (min(1.0, max(0.0, share)) for share in shares)
        return pb.Pressure(scope=self._scope, memory_some=some, memory_full=full, cpu_some=cpu, io_full=io)

    def _read(self) -> _Totals:
        texts = {name: path.read_text() for name, path in self._files.items()}
        return tuple(_total(texts[name], kind) for name, kind in _WANTED)


def _total(text: str, kind: str) -> int:
    """Return the microseconds in a line such as `some avg10=0.00 avg60=0.00 avg300=0.00 total=44709`."""
    for line in text.splitlines():
        if line.startswith(kind):
            return int(line.rsplit("total=", 1)[1])
    return 0
