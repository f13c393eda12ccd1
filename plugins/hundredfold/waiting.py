"""Whether a worker waits for the coordinator at this moment: its title says so, where its host can see it.

It costs the worker next to nothing and the host nothing until it looks, which it does before it ends a worker for its
time. What an agent has finished while no coordinator was there is not to be lost.
"""

from pathlib import Path
from typing import Final

WAITING: Final = "hundredfold: waits for its coordinator, worker "
"""What the title of a worker begins with that waits."""
WORKING: Final = "hundredfold: worker "
"""What it begins with otherwise; they differ within the 15 bytes that the kernel keeps for /proc/PID/comm."""


def is_waiting(pid: int) -> bool:
    """Whether a worker waits; False if it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n") == WAITING[:15]
    except (FileNotFoundError, ProcessLookupError):
        return False
