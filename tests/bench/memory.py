"""The memory of a daemon's processes, as proportional set sizes: shared pages count once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import accounting
from daemon import Family

_SAMPLE_SECONDS = 0.5
_SAMPLE_AGENTS = 10


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by role, and the number of agents that were alive."""

    coordinator: int = 0
    host: int = 0
    zygote: int = 0
    workers: float = 0.0
    agents: int = 0

    @property
    def total(self) -> float:
        """All roles together."""
        return self.coordinator + self.host + self.zygote + self.workers


def measure(family: Family, at_most: int | None = None) -> Memory:
    """Measure every process; of the agents `at_most` some, from which all of them are extrapolated."""
    agents = [pid for zygote in family.zygotes for pid in accounting.children(zygote)]
    chosen = agents if at_most is None or at_most > len(agents) else random.sample(agents, at_most)
    sizes = [size for size in map(accounting.pss, chosen) if size]  # the others have just ended
    return Memory(
        coordinator=accounting.pss(family.coordinator),
        host=accounting.pss(family.host),
        zygote=sum(map(accounting.pss, family.zygotes)),
        workers=sum(sizes) * len(agents) / len(chosen) if chosen else 0,
        agents=len(agents) if sizes else 0,
    )


class Sampler:
    """Keeps the largest of some samples; each costs a few milliseconds of this process, not of the daemon."""

    def __init__(self) -> None:
        self.peak = Memory()

    def keep(self, memory: Memory) -> None:
        """Remember a sample if it is the largest."""
        self.peak = max(self.peak, memory, key=lambda one: one.total)

    @asynccontextmanager
    async def sampling(self, family: Family) -> AsyncIterator[None]:
        """Sample while the block runs."""
        task = asyncio.create_task(self._run(family))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, family: Family) -> None:
        while True:
            self.keep(await asyncio.to_thread(measure, family, _SAMPLE_AGENTS))
            await asyncio.sleep(_SAMPLE_SECONDS)
