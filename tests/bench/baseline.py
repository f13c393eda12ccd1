"""The same work by plain `os.fork`: run as a program of its own, which imports nothing but the standard library.

`python -I baseline.py N AT_ONCE SECONDS` forks N children, AT_ONCE at a time, each of which sleeps SECONDS and exits;
with SECONDS = `hold` they wait until all are alive. It prints its makespan and the CPU time of parent and children.
"""

import json
import os
import resource
import sys
import time


def main(n: int, at_once: int, seconds: str) -> None:
    """Fork, wait, and print one JSON object."""
    before, begin = _cpu_seconds(), time.perf_counter()
    (_held if seconds == "hold" else _sleeping)(n, at_once, seconds)
    makespan = time.perf_counter() - begin
    print(json.dumps({"makespan_s": makespan, "cpu_s": _cpu_seconds() - before}))


def _sleeping(n: int, at_once: int, seconds: str) -> None:
    pause = float(seconds)
    for number in range(n):
        if number >= at_once:
            os.wait()
        if os.fork() == 0:
            if pause:
                time.sleep(pause)
            os._exit(0)
    for _ in range(min(n, at_once)):
        os.wait()


def _held(n: int, *_: object) -> None:
    reader, writer = os.pipe()
    for _number in range(n):
        if os.fork() == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    os.close(writer)  # the end of file is what they wait for
    for _number in range(n):
        os.wait()


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
