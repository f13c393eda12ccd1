"""What every test is held to: it leaves no process, no descriptor and no environment variable behind."""

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from hundredfold import SyncClient
from servers.postgresql import PostgresqlServer, running_postgresql
from servers.redis import RedisServer, redis_server

_SETTLE_SECONDS = 3.0
_STAYING = ("hundredfold: zygote", "hundredfold: waits for its coordinator, worker idle")
_T = TypeVar("_T")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add how much is tried."""
    parser.addoption("--deep", action="store_true", help="whether everything is done that takes long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is marked `soak` to `scripts/soak faults`: variations of what other tests show in less time."""
    if not config.getoption("--deep"):
        later = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=later)
        items[:] = [item for item in items if item not in later]


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c_is_heard() -> None:
    """Have the programs that tests start heed Ctrl-C, though whoever runs these in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _grpc_is_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have gRPC open what it keeps open as long as the process lives."""
    SyncClient(f"unix:{tmp_path_factory.mktemp('grpc') / 'nobody'}").close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """Yield a server that all tests share; each takes a database of its own."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """Yield a server that all tests share; each takes a namespace of its own."""
    with redis_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    environment = dict(os.environ)
    descriptors = _descriptors()
    children = _children()
    yield
    changed = {key for key in {*environment, *os.environ} if environment.get(key) != os.environ.get(key)}
    assert changed - {"PYTEST_CURRENT_TEST"} == set(), "environment variables were changed"
    assert _settled(lambda: _children().keys() - children.keys()) == set(), f"left behind: {_children()}"
    assert _settled(lambda: _descriptors() - descriptors) == set(), "descriptors were left open"


def _settled(left: Callable[[], set[_T]]) -> set[_T]:
    """Return what is left, after what is just about to go has gone."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while (found := left()) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.02)
    return found


def _descriptors() -> set[str]:
    """Return files and pipes; not what gRPC opens, sockets included, and gives back when it likes."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = entry.readlink()
        except FileNotFoundError:
            continue
        if not str(target).startswith(("anon_inode:", "/dev/", "/proc/", "socket:")):
            found.add(f"{entry.name} {target}")
    return found


def _children() -> dict[int, str]:
    """Return children with their descendants; some may stay with a coordinator that several tests share."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        try:
            title = " ".join(child.cmdline())
            if not title.startswith(_STAYING):
                found[child.pid] = title
        except psutil.Error:
            continue
    return found
