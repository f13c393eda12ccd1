"""The summary: what has happened, in words and figures, and whether it was what the project promises.

See also: `batch.py` and `faults.py`, where the figures come from.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from batch import COMMAND, Batch
from faults import Fault, Faults
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

_FINDINGS_SHOWN: Final = 6
_ANSWERS_SHOWN: Final = 4

_Rows = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that is known at the end.

    Attributes:
        count: how many agents there were to be in each batch.
        left: processes that are still there, and should not be.

    """

    count: int
    reviews: Batch
    answers: Batch
    faults: Faults
    left: list[str]
    data_dir: Path

    def problems(self) -> Iterator[str]:
        """Yield what is not as promised; nothing, if all is well."""
        for name, batch in (("review", self.reviews), ("answer", self.answers)):
            succeeded, processes = len(batch.results), _processes(batch)
            if batch.exit_code or succeeded < self.count:
                yield f"{succeeded} of {self.count} {name}s succeeded, exit code {batch.exit_code}; see {batch.file}"
            if processes < succeeded:
                yield f"{succeeded} {name}s ran in only {processes} processes"
        for result in self.answers.results:
            if not result["reviews"]:
                yield f"the session of {result['module']} holds no review"
        for process in self.left:
            yield f"left running: {process}"

    def show(self, console: Console) -> None:
        """Print it."""
        _section(console, "In figures", self._figures())
        _section(console, "What the tools did, and what the agents did about it", self._disturbances())
        _section(console, "Some of what the agents found", self._findings())
        _section(console, "Asked afterwards, answered from what the reviews left in their sessions", self._answers())
        _section(console, "To look closer", [("reviews", str(self.reviews.file)), ("answers", str(self.answers.file))])
        serve = f"{os.path.relpath(COMMAND)} serve --data-dir {self.data_dir} &"
        console.print(f"  [cyan]tasks[/]     {serve}", soft_wrap=True, highlight=False)
        console.print("            then list, get and watch with the same --data-dir")
        for problem in self.problems():
            console.print(f"\n[bold red]not as promised:[/] {problem}", highlight=False)

    def _figures(self) -> _Rows:
        done = len(self.reviews.results), len(self.answers.results)
        processes = _processes(self.reviews) + _processes(self.answers)
        struck = sum(self.faults.struck.values())
        share = round(100 * struck / max(1, self.faults.calls))
        failed, left = 2 * self.count - sum(done) or "none", len(self.left) or "none"
        yield "agents", f"{done[0]} reviews and {done[1]} answers, {failed} failed"
        yield "processes", f"{processes}, a fresh one for each task, {left} left running"
        yield "time", f"{self.reviews.seconds:.1f} s for the reviews, {self.answers.seconds:.1f} s for the answers"
        yield "tool calls", f"{self.faults.calls}, of which {struck} ({share} %) were disturbed on purpose"
        remembered = sum(len(review["remembered"]) for review in self.reviews.results)
        if remembered:
            yield "not called", f"{remembered} tools, whose answers an earlier review had left in the session"

    def _disturbances(self) -> _Rows:
        met = [review["tool_faults"] for review in self.reviews.results]
        healed = [fault["problem"] for faults in met for fault in faults if fault["recovered"]]
        silent = sum("no answer" in problem for problem in healed)
        lacking = sum(not all(fault["recovered"] for fault in faults) for faults in met)
        dealt = {
            Fault.LATE: "waited",
            Fault.SILENT: f"hung up, asked again; {silent} answered then",
            Fault.BUSY: f"asked again a moment later; {len(healed) - silent} answered then",
            Fault.BROKEN: f"asked three times, went on without; {lacking} said so in their review",
        }
        for fault, words in dealt.items():
            yield f"{self.faults.struck[fault]:>3} {fault}", words
        yield f"{met.count([]):>3} agents met none", "and never noticed those of their neighbours"

    def _findings(self) -> _Rows:
        found = [(finding, review["module"]) for review in self.reviews.results for finding in review["findings"]]
        found.sort(key=lambda pair: -pair[0]["weight"])
        kinds = _first_of_each(found, lambda pair: pair[0]["kind"])
        return [(module, finding["text"]) for finding, module in kinds][:_FINDINGS_SHOWN]

    def _answers(self) -> _Rows:
        longest = sorted(self.answers.results, key=lambda result: -len(result["answer"]))
        for result in _first_of_each(longest, lambda result: result["question"])[:_ANSWERS_SHOWN]:
            yield result["module"], f"[dim]{result['question']}[/] {result['answer']}"


def _processes(batch: Batch) -> int:
    return len({result["pid"] for result in batch.results})


def _first_of_each(values: Iterable[Any], kind: Callable[[Any], str]) -> list[Any]:
    """Return the first value of each kind."""
    first: dict[str, Any] = {}
    for value in values:
        first.setdefault(kind(value), value)
    return list(first.values())


def _section(console: Console, title: str, rows: _Rows) -> None:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    console.print(f"\n[bold]{title}[/]")
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
