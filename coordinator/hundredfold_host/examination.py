"""What this machine gives a host, found out by trying; `hundredfold doctor` asks for it.

python -m hundredfold_host --examine
"""

import json
import resource
import sys
from typing import Any

import psutil
from hundredfold.v1 import attempt_pb2
from hundredfold.v1 import coordinator_service_pb2 as pb

from hundredfold_host.containment.choice import choose
from hundredfold_host.containment.hierarchies import UNIFIED, own_cgroups
from hundredfold_host.machine import REACTION_SECONDS
from hundredfold_host.memory import MemoryCgroup, fault_rate
from hundredfold_host.pressure import PressureMonitor


def examine() -> dict[str, Any]:
    """Return what there is, by name."""
    own = own_cgroups()
    containment = choose("doctor")
    kind = containment.make(attempt_pb2.Receipt().effective_limits).kind
    containment.close()
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    rate = fault_rate()
    return {
        "containment": attempt_pb2.Containment.Name(kind).removeprefix("CONTAINMENT_"),
        "cgroup_v2": UNIFIED in own,
        "memory_bytes": memory.total,
        "memory_limit_bytes": MemoryCgroup(own, memory.total).limit_bytes,
        "fault_rate_bytes": int(rate),
        "headroom_bytes": int(rate * REACTION_SECONDS),
        "pressure": pb.PressureScope.Name(PressureMonitor(own).sample().scope).removeprefix("PRESSURE_SCOPE_"),
        "swap_bytes": swap.total,
        "cpu_count": psutil.cpu_count() or 1,
        "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "processes": resource.getrlimit(resource.RLIMIT_NPROC)[1],
    }


def main() -> None:
    """Write it to stdout, as JSON."""
    sys.stdout.write(json.dumps(examine()) + "\n")
