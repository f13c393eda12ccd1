"""Behaviours of the storage fault tests."""

import os
import secrets
import time
from pathlib import Path

from hundredfold import behaviour


@behaviour
def hold_back(path: str, size: int = 0) -> dict[str, str | int]:
    """Wait until a file is there; return which process did, and as many letters as are wanted."""
    while not Path(path).exists():
        time.sleep(0.02)
    return {"pid": os.getpid(), "text": "x" * size}


@behaviour
def draw() -> str:
    """Return what nobody else returns, and no second run."""
    return secrets.token_hex(8)


@behaviour
def say(number: int) -> int:
    """Return a number."""
    return number
