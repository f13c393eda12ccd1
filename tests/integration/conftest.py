"""A coordinator with the tests' behaviours, shared by the tests of a module, and one of its own where it is killed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hundredfold import SyncClient
from hundredfold.testing.coordinator import CoordinatorProcess, running_coordinator

AGENTS = Path(__file__).with_name("agents.py")


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorProcess]:
    """A coordinator that the tests of a module share."""
    with running_coordinator(tmp_path_factory.mktemp("data"), plugins=[AGENTS]) as process:
        yield process


@pytest.fixture
def client(coordinator: CoordinatorProcess) -> Iterator[SyncClient]:
    """A client of the shared coordinator."""
    with coordinator.client() as client:
        yield client


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., CoordinatorProcess]]:
    """Start coordinators on one data directory, one after the other; all are stopped at the end."""
    started: list[CoordinatorProcess] = []

    def start(*arguments: str) -> CoordinatorProcess:
        started.append(CoordinatorProcess(tmp_path / "data", ["--plugin", str(AGENTS), *arguments]))
        return started[-1]

    yield start
    for process in reversed(started):
        process.stop()
