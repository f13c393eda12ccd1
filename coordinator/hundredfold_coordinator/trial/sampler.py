"""What a run uses while it lasts: memory of the machine against just before, and CPU time of its processes.

Memory is the whole machine's, because that is what agents, their parents and their kernel memory cost together; so
whatever else runs there counts, too. CPU time is that of the coordinator and all its descendants, the dead included:
what else the machine does, the client among it, would count for more the longer a run lasts.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import psutil

from hundredfold_coordinator.trial.outcome import Sample

_INTERVAL_SECONDS: Final = 0.1
_LEAST_SECONDS: Final = 0.01


class Sampler:
    """Collects samples while `sampling` lasts; `family` is the process whose tree the run is.

    Attributes:
        samples: in the order of time.
        cpu_s: CPU time of the family.
        others_cores: CPUs kept busy by what is neither the family nor this process, on average.

    Nobody can see at every moment whose work a CPU does; so samples have what the machine did then, less what all but
    the family did on average.

    """

    def __init__(self, family: int) -> None:
        self.samples: list[Sample] = []
        self.cpu_s = 0.0
        self.others_cores = 0.0
        self._family = psutil.Process(family)

    @contextlib.asynccontextmanager
    async def sampling(self) -> AsyncIterator[None]:
        """Sample ten times a second while the block runs, and once when it ends."""
        family, own, busy = self._family_seconds(), _own_seconds(), busy_seconds()
        self._began = self._moment = time.monotonic()
        self._busy, self._free = busy, psutil.virtual_memory().available
        task = asyncio.ensure_future(self._sample())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not self.samples or time.monotonic() - self._moment > _INTERVAL_SECONDS / 2:
                self._take()  # CPU time is counted in hundredths of a second: less than this would be no figure
            lasted = max(time.monotonic() - self._began, _LEAST_SECONDS)
            self.cpu_s = max(0.0, self._family_seconds() - family)  # less than before if the coordinator is gone
            rest = max(0.0, busy_seconds() - busy - self.cpu_s)
            self.others_cores = max(0.0, rest - (_own_seconds() - own)) / lasted
            self._leave_out(rest / lasted)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            self._take()

    def _take(self) -> None:
        now, busy = time.monotonic(), busy_seconds()
        used = max(0, self._free - psutil.virtual_memory().available)
        cores = max(0.0, busy - self._busy) / max(now - self._moment, _LEAST_SECONDS)
        self.samples.append(Sample(round(now - self._began, 3), used, round(cores, 3)))
        self._moment, self._busy = now, busy

    def _leave_out(self, cores: float) -> None:
        self.samples = [replace(one, cores=round(max(0.0, one.cores - cores), 3)) for one in self.samples]

    def _family_seconds(self) -> float:
        """CPU time of the family, the dead among it included."""
        total = 0.0
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (self._family, *self._family.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += sum(process.cpu_times()[:4])  # its own, and that of the children it has waited for
        return total


def _own_seconds() -> float:
    return float(sum(psutil.Process().cpu_times()[:2]))


def busy_seconds() -> float:
    """Return the CPU time of the whole machine since it was started."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))
