"""Where a coordinator and its clients meet: the data directory, and the sockets that belong to it."""

import os
from hashlib import sha256
from pathlib import Path
from typing import Final

import platformdirs

from hundredfold.errors import InvalidSetting

_SOCKET_PATH_LIMIT: Final = 107
"""Longest path of a Unix socket, in bytes: unix(7)."""


def default_data_dir() -> Path:
    """Return `$XDG_DATA_HOME/hundredfold`, usually `~/.local/share/hundredfold`."""
    return platformdirs.user_data_path("hundredfold", appauthor=False)


def runtime_dir(data_dir: Path) -> Path:
    """Return the directory of the sockets that belong to a data directory.

    It lies in `$XDG_RUNTIME_DIR` where there is one, else in the data directory itself.
    """
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and Path(base).is_dir():
        return Path(base) / "hundredfold" / sha256(str(data_dir.resolve()).encode()).hexdigest()[:12]
    return data_dir.resolve()


def api_socket(directory: Path) -> Path:
    """Return the socket for clients.

    Raises:
        InvalidSetting: its path is longer than a socket's may be.

    """
    return _checked(directory / "api.sock")


def worker_socket(directory: Path) -> Path:
    """Return the socket for workers and hosts.

    Raises:
        InvalidSetting: its path is longer than a socket's may be.

    """
    return _checked(directory / "worker.sock")


def _checked(path: Path) -> Path:
    if len(os.fsencode(path)) > _SOCKET_PATH_LIMIT:
        problem = (
            f"would put a socket at {path}, and such a path may have {_SOCKET_PATH_LIMIT} bytes; choose a shorter one"
        )
        raise InvalidSetting("data_dir", problem)
    return path
