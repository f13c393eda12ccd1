"""`scripts/soak [WHAT...]`: the long measurements, one JSON line each on stdout; progress on stderr.

deaths      from the death of an agent to its record, beside at least 100 idle ones
restarts    a coordinator killed with 10,000 queued and 100 running tasks: exec of the next one to serving
zygotes     from the death of a zygote to the next agent
neighbours  500 innocent tasks beside every fault a worker can have
hogs        100 tasks of 1 GiB on a machine of 4 GiB, nothing declared, twice; beside the best fixed concurrency
overload    an open loop of ten times what can be done: goodput, refusals, and how soon others are answered
stampede    the same with agents of a tenth of a second
stranger    200 agents beside a process of somebody else's that stalls for memory
monitoring  what it costs to watch a thousand idle agents
storm       20 agents that leak until they are ended, beside 200 innocent ones
vectors     100,000 vectors of 256 dimensions: recall, searches, commits beside them
backends    100 agents on PostgreSQL and Redis beside the default store; what a context adds to a start
outages     a server killed in the middle of 200 tasks, and back after ten seconds
postgresql  searching 100,000 vectors in PostgreSQL: recall, time, and what building the index takes
drift       tasks 5,001 to 105,000 in a row: descriptors, threads, memory, the store's file
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from drift import drift
from measures import deaths, neighbours, restarts, zygotes
from memory import hogs, storm
from monitoring import monitoring
from overload import overload, stampede
from postgresql_vectors import postgresql
from stores import backends, outages
from stranger import stranger
from vectors import vectors

_LOAD = (hogs, storm, overload, stampede, stranger, monitoring)
_STORES = (vectors, postgresql, backends, outages)
_MEASURES = {one.__name__: one for one in (deaths, restarts, zygotes, neighbours, drift, *_LOAD, *_STORES)}


def main() -> None:
    """Measure what was asked for, each on a fresh data directory on disk."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=[*_MEASURES, []], help="all of them, if none is named")
    parser.add_argument("--n", type=int, default=0, help="size of the measurement; see each")
    options = parser.parse_args()
    for name in options.what or _MEASURES:
        sys.stderr.write(f"{name} ...\n")
        with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="hundredfold-soak-") as directory:
            figures = _MEASURES[name](Path(directory), *[options.n] * bool(options.n))
        print(json.dumps({"measure": name, **figures}), flush=True)


if __name__ == "__main__":
    main()
