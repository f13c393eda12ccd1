"""A hundred agents review a hundred modules of the standard library; a hundred others answer questions about them.

Run it with `./scripts/run`, or `python examples/stdlib_review`.

See also: `README.md`; `agents.py`, what each agent does.
"""

import argparse
import sys
import tempfile
from itertools import cycle
from pathlib import Path
from typing import Final

from batch import Batch, Runner
from conversation import QUESTIONS
from faults import Faults
from leftovers import adopt_orphans, left_running
from library import Library
from rich.console import Console
from summary import Summary
from tool_api import ToolApi

_INTERRUPTED: Final = 130


def main() -> int:
    """Run both batches; return 0 if everything was as promised, 130 after Ctrl-C."""
    arguments = _arguments()
    data_dir: Path = (arguments.data_dir or Path(tempfile.mkdtemp(prefix="hundredfold-"))).resolve()
    adopt_orphans()
    runner, library, faults = Runner(data_dir), Library(), Faults(arguments.seed)
    try:
        modules = library.choose(arguments.count)
    except ValueError as error:
        sys.exit(f"error: {error}")
    reviews = _review(runner, modules, ToolApi(library, faults))
    answers = _ask(runner, modules)
    left = left_running()
    if runner.interrupted:
        print(f"\ninterrupted; {'; '.join(left) or 'nothing'} left running", file=sys.stderr)
        return _INTERRUPTED
    summary = Summary(len(modules), reviews, answers, faults, left, data_dir)
    summary.show(Console())
    return 1 if any(summary.problems()) else 0


def _review(runner: Runner, modules: list[str], api: ToolApi) -> Batch:
    inputs = [{"module": module, "tools": api.address} for module in modules]
    what = f"{len(modules)} agents review {len(modules)} modules of the standard library, each in its own process."
    with api.serving():
        return runner.run("review", inputs, what)


def _ask(runner: Runner, modules: list[str]) -> Batch:
    questions = zip(modules, cycle(QUESTIONS), strict=False)
    inputs = [{"module": module, "question": question} for module, question in questions]
    return runner.run("answer", inputs, f"\n{len(modules)} others answer questions, from what is in the store.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stdlib_review", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="how many modules and agents (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which tool calls go wrong (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="where to keep everything (default: a new temporary directory)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
