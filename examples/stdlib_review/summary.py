"""The summary: what has happened, in words and figures, and whether it was what the project promises.

See also: `batch.py` and `faults.py`, where the figures come from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from batch import Batch
from faults import Fault, Faults
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_FINDINGS_SHOWN: Final = 6
_ANSWERS_SHOWN: Final = 3


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
            if len(batch.results) < self.count:
                yield f"{self.count - len(batch.results)} of {self.count} {name}s did not succeed; see {batch.file}"
            elif _processes(batch) < self.count:
                yield f"{self.count} {name}s ran in {_processes(batch)} processes, not in {self.count}"
        known = sum(result["reviews"] > 0 for result in self.answers.results)
        if known < len(self.answers.results):
            yield f"{len(self.answers.results) - known} answers found no review in their session"
        for process in self.left:
            yield f"left running: {process}"

    def show(self, console: Console) -> None:
        """Print it."""
        for title, body in (
            ("", self._figures()),
            ("What the tools did, and what the agents did about it", self._disturbances()),
            ("Some of what the agents found", self._findings()),
            ("Answered from what the reviews left in their sessions", self._answers()),
            ("To look closer", self._hints()),
        ):
            console.print(Text(f"\n{title}" if title else "", style="bold"))
            console.print(Padding(body, (0, 0, 0, 2)))
        for problem in self.problems():
            console.print(Text(f"\nNOT AS PROMISED: {problem}", style="bold red"))

    def _figures(self) -> Table:
        done = len(self.reviews.results), len(self.answers.results)
        failed = 2 * self.count - sum(done)
        struck = sum(self.faults.struck.values())
        share = 100 * struck / max(1, self.faults.calls)
        return _grid(
            ("agents", f"{done[0]} reviews and {done[1]} answers; {failed or 'none'} failed"),
            ("processes", f"{_processes(self.reviews) + _processes(self.answers)}, a fresh one for each task; "
                          f"{len(self.left) or 'none'} left running"),
            ("time", f"{self.reviews.seconds:.1f} s for the reviews, {self.answers.seconds:.1f} s for the answers"),
            ("tool calls", f"{self.faults.calls}, of which {struck} ({share:.0f} %) were disturbed on purpose"),
        )  # fmt: skip

    def _disturbances(self) -> Table:
        faults = [fault for review in self.reviews.results for fault in review["tool_faults"]]
        healed = [fault["problem"] for fault in faults if fault["recovered"]]
        silent = sum("no answer" in problem for problem in healed)
        lacking = sum(any(not f["recovered"] for f in review["tool_faults"]) for review in self.reviews.results)
        calm = sum(not review["tool_faults"] for review in self.reviews.results)
        dealt = {
            Fault.LATE: "waited",
            Fault.SILENT: f"hung up and asked again: {silent} then had their answer",
            Fault.BUSY: f"asked again a moment later: {len(healed) - silent} then had their answer",
            Fault.BROKEN: f"asked three times, went on without, said so: {lacking} reviews lack a tool",
        }
        rows = [(f"{fault:<16} {self.faults.struck[fault]:>4} x", words) for fault, words in dealt.items()]
        return _grid(*rows, ("no fault at all", f"{calm} agents, which never noticed those of their neighbours"))

    def _findings(self) -> Table:
        found = [(finding, review["module"]) for review in self.reviews.results for finding in review["findings"]]
        found.sort(key=lambda pair: -pair[0]["weight"])
        return _grid(*((module, finding["text"]) for finding, module in islice(_varied(found), _FINDINGS_SHOWN)))

    def _answers(self) -> Table:
        # One for each kind of question; they take turns.
        return _grid(*(
            (result["module"], f"{result['question']} [dim]{result['answer']}[/]")
            for result in self.answers.results[:_ANSWERS_SHOWN]
        ))  # fmt: skip

    def _hints(self) -> Table:
        return _grid(
            ("results", f"{self.reviews.file}\n{self.answers.file.name} beside it"),
            ("tasks", f"hundredfold serve --data-dir {self.data_dir} &\nhundredfold list --data-dir {self.data_dir}"),
        )


def _processes(batch: Batch) -> int:
    return len({result["pid"] for result in batch.results})


def _varied(found: list[tuple[dict[str, Any], str]]) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the heaviest finding of each kind, none of a module that was named already."""
    kinds, modules = set(), set()
    for finding, module in found:
        if finding["kind"] not in kinds and module not in modules:
            kinds.add(finding["kind"])
            modules.add(module)
            yield finding, module


def _grid(*rows: tuple[str, str]) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    return table
