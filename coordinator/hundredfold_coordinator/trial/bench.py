"""The two measurements of `hundredfold bench`, one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hundredfold_coordinator.trial.backlog import ROUNDS, Backlog, pile_up
from hundredfold_coordinator.trial.crowd import Crowd, Start, gather
from hundredfold_coordinator.trial.levels import levels


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many of what are measured: agents at once, queued tasks."""

    agents: Sequence[int]
    queued: Sequence[int]

    @property
    def stages(self) -> int:
        """How many stages there are to be told of."""
        return len(self.agents) + len(self.queued) + ROUNDS


def sizes(most: int, queued: int) -> Sizes:
    """Return what is measured up to so many agents and so many queued tasks."""
    return Sizes(levels(most), levels(queued, digits=(1,), least=10))


async def measure(
    wanted: Sizes, start: Start, directory: Path, begin: Callable[[str], None]
) -> tuple[list[Crowd], list[Backlog]]:
    """Measure; `begin` is told of each stage, and `directory` is for files that are not needed afterwards.

    More and more agents are started until the machine takes no more.

    Raises:
        HundredfoldError: a coordinator does not start, or refuses a task.

    """
    crowds: list[Crowd] = []
    for count in wanted.agents:
        begin("1 agent" if count == 1 else f"{count} agents at once")
        crowds.append(await gather(start, count, directory))
        if not crowds[-1].is_whole:
            break
    return crowds, await pile_up(start, wanted.queued, begin)
