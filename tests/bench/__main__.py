"""`scripts/bench WORKLOAD [--n N] [--repeat K]`: one JSON line a run on stdout, everything else on stderr."""

import argparse
import asyncio
import math
import os
import signal
import statistics
import sys
from dataclasses import fields

import accounting
import budget
import guard
from daemon import DaemonError
from figures import Line
from hundredfold import HundredfoldError
from run import run
from workloads import WORKLOADS, Workload

_QUIET_CORES = 0.1
_FIGURES = [field.name for field in fields(Line) if field.name not in ("workload", "n")]
_SUMMARY = """\
{workload}, n = {n}, medians of {runs} run(s):
  makespan   {makespan_s:.3f} s; bare fork {bare_fork_makespan_s:.3f} s; ratio {ratio_makespan:.2f}
  rate       {tasks_per_s:.1f} tasks/s; p50 {p50_s:.3f} s, p99 {p99_s:.3f} s
  CPU        {cpu_ms_per_task:.1f} ms a task: coordinator {cpu_ms_coordinator:.1f}, host {cpu_ms_host:.1f}, \
zygote {cpu_ms_zygote:.1f}, workers {cpu_ms_workers:.1f}; bare fork {bare_fork_cpu_ms:.1f}
  memory     {peak_pss_mb:.0f} MB at most, {pss_per_agent_mb:.2f} MB an agent
  processes  {distinct_pids:.0f} distinct; cold start {cold_start_s:.2f} s
"""


def main() -> None:
    """Measure, and leave nothing behind however this ends."""
    arguments = _parser().parse_args()
    if arguments.own:
        arguments.own(arguments)
        return
    accounting.adopt_orphans()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        lines = asyncio.run(_repeat(arguments.workload, arguments.n or arguments.workload.n, arguments.repeat))
    except KeyboardInterrupt:
        sys.exit(130)
    except (DaemonError, HundredfoldError) as error:
        sys.exit(f"bench: {error}")
    finally:
        accounting.end_all()
    _summarise(lines)
    sys.exit(any(line.failed for line in lines))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="WORKLOAD")
    for workload in WORKLOADS:
        command = commands.add_parser(workload.name, help=f"{workload.help}; n is {workload.n}")
        command.add_argument("--n", type=_positive, help=f"how many tasks [default: {workload.n}]")
        command.add_argument("--repeat", type=_positive, default=1, help="how many runs [default: 1]")
        command.set_defaults(workload=workload, own=None)
    command = commands.add_parser("budget", help=str(budget.__doc__).split(": ", 1)[1].partition("\n")[0])
    command.add_argument("--n", type=_positive, default=200, help="how many tasks [default: 200]")
    command.set_defaults(own=lambda arguments: budget.main(arguments.n))
    command = commands.add_parser("guard", help="whether a task costs more than it did; part of `scripts/check`")
    command.set_defaults(own=lambda _: _guarded())
    return parser


def _guarded() -> None:
    """Run the guard, and leave nothing behind however it ends."""
    accounting.adopt_orphans()
    try:
        guard.main()
    finally:
        accounting.end_all()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


async def _repeat(workload: Workload, n: int, times: int) -> list[Line]:
    lines = []
    for _ in range(times):
        load, _, _ = os.getloadavg()
        sys.stderr.write(f"bench: {workload.name}, {n} task(s): {workload.help}; load average {load:.1f}\n")
        lines.append(await run(workload, n))
        print(lines[-1].json(), flush=True)
    return lines


def _summarise(lines: list[Line]) -> None:
    """Write for a person what the runs show together."""
    busy = max(line.others_cores for line in lines)
    if busy > _QUIET_CORES:
        sys.stderr.write(f"bench: others kept up to {busy:.1f} cores busy meanwhile\n")
    valid = [line for line in lines if line.valid]
    if len(valid) < len(lines):
        sys.stderr.write(f"bench: {len(lines) - len(valid)} run(s) are invalid: bare fork shows a busy machine\n")
    if valid:
        medians = {name: _median([getattr(line, name) for line in valid]) for name in _FIGURES}
        sys.stderr.write(_SUMMARY.format(workload=valid[0].workload, n=valid[0].n, runs=len(valid), **medians))


def _median(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else math.nan


if __name__ == "__main__":
    main()
