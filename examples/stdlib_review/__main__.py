"""A hundred agents review a hundred modules of the standard library; a hundred others answer questions about them.

Run it with `./scripts/run`, or `python examples/stdlib_review`.

See also: `README.md`; `agents.py`, what each agent does.
"""

import argparse
import sys
import tempfile
from itertools import cycle
from pathlib import Path

from batch import Runner
from conversation import QUESTIONS
from faults import Faults
from leftovers import adopt_orphans, left_running
from library import Library
from rich.console import Console
from summary import Summary
from tool_api import ToolApi

_INTERRUPTED = 130


def main() -> int:
    """Run both batches; return 0 if everything was as promised, 130 after Ctrl-C."""
    arguments = _arguments()
    library, faults = Library(), Faults(arguments.seed)
    modules = library.choose(arguments.count)
    data_dir = (arguments.data_dir or Path(tempfile.mkdtemp(prefix="hundredfold-"))).resolve()
    adopt_orphans()
    runner = Runner(data_dir)
    _say(f"{len(modules)} agents review {len(modules)} modules of the standard library, each in a process of its own.")
    with ToolApi(library, faults) as api, api.serving():
        reviews = runner.run("review", [{"module": module, "tools": api.address} for module in modules])
    _say(f"\n{len(modules)} others answer questions about them, from the sessions in the store.")
    questions = zip(modules, cycle(QUESTIONS), strict=False)
    answers = runner.run("answer", [{"module": module, "question": question} for module, question in questions])
    left = left_running()
    if runner.interrupted:
        _say(f"\ninterrupted; {'; '.join(left) or 'nothing'} left running")
        return _INTERRUPTED
    summary = Summary(len(modules), reviews, answers, faults, left, data_dir)
    summary.show(Console())
    return 1 if any(summary.problems()) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stdlib_review", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=100, help="how many modules and agents (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which tool calls go wrong (default: %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="where to keep everything (default: a new temporary directory)")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
