"""What runs of a behaviour need: learned from the receipts of those that have ended.

Memory is what matters: too little set aside, and the machine runs short; too much, and it stands idle.
"""

from typing import Final

from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import attempt_pb2

from hundredfold_coordinator.core import sketch

ENOUGH_RUNS: Final = 5
"""From this number of runs on, what was learned counts more than what was declared."""
_SHARE: Final = 0.95
_STARTUP_SECONDS: Final = 1.0
_STEADY_SECONDS: Final = 1.0
"""How long a run must have gone on after its start to say something about what it uses then."""
_LEAST_SECONDS: Final = 0.5
"""How long a shorter one must take for its CPU time to matter to others."""


def learn(footprint: records_pb2.FootprintRecord, receipt: attempt_pb2.Receipt) -> None:
    """Take in a run that has ended by itself."""
    memory = peak_of(receipt)
    if memory:
        sketch.add(footprint.memory_bytes, memory)
    wall, cpu = _seconds(receipt.wall_time), _seconds(receipt.cpu_time)
    startup = min(cpu, _seconds(receipt.startup_cpu_time))
    sketch.add(footprint.wall_seconds, wall)
    sketch.add(footprint.startup_cpu_seconds, startup)
    if wall >= _STARTUP_SECONDS + _STEADY_SECONDS:
        # What it wanted, not what it got: else a crowd would teach that nobody needs a CPU.
        steady = cpu - startup + _seconds(receipt.cpu_wait_time)
        sketch.add(footprint.cpu_cores, steady / (wall - _STARTUP_SECONDS))
    elif wall >= _LEAST_SECONDS:
        sketch.add(footprint.cpu_cores, cpu / wall)
    if is_known(footprint):
        footprint.evicted_bytes = 0


def peak_of(receipt: attempt_pb2.Receipt) -> int:
    """Return the most memory that an attempt is known to have used: samples of its tree, or the kernel's own count."""
    return max(receipt.peak_pss_bytes, receipt.max_private_bytes)


def learn_shortage(footprint: records_pb2.FootprintRecord, peak_bytes: int) -> None:
    """Take in a run that was ended for its memory: it needed more than it had."""
    footprint.evicted_bytes = max(footprint.evicted_bytes, peak_bytes)


def is_known(footprint: records_pb2.FootprintRecord) -> bool:
    """Whether enough runs have ended to go by them."""
    return footprint.memory_bytes.count >= ENOUGH_RUNS


def peak_bytes(footprint: records_pb2.FootprintRecord) -> int:
    """Return what 95 of 100 runs stay below; 0 if there was none."""
    return int(sketch.quantile(footprint.memory_bytes, _SHARE))


def wall_seconds(footprint: records_pb2.FootprintRecord) -> float:
    """Return how long 95 of 100 runs take at most; 0 if there was none."""
    return sketch.quantile(footprint.wall_seconds, _SHARE)


def median_seconds(footprint: records_pb2.FootprintRecord) -> float:
    """Return how long half of the runs take at most; 0 if there was none."""
    return sketch.quantile(footprint.wall_seconds, 0.5)


def cores(footprint: records_pb2.FootprintRecord) -> float:
    """Return how many CPUs a run keeps busy, in the middle of all runs; 0 if nobody knows."""
    if footprint.cpu_cores.count < ENOUGH_RUNS:
        return 0.0
    return sketch.quantile(footprint.cpu_cores, 0.5)


def _seconds(duration: object) -> float:
    return duration.ToNanoseconds() / 1e9  # type: ignore[attr-defined,no-any-return]
