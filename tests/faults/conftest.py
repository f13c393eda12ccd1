"""Options of the fault tests, and what they share."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hundredfold.testing.coordinator import CoordinatorProcess
from storage_tools import AGENTS as STORAGE_AGENTS
from world import AGENTS


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add how much is tried."""
    parser.addoption("--points", type=int, default=20, help="places of the crash sweep, four for each call; 0 for all")
    parser.addoption("--runs", type=int, default=4, help="runs of every fault test that draws lots")
    parser.addoption("--seed", type=int, default=1, help="which ones, and every other random choice")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., CoordinatorProcess]]:
    """Start coordinators on one data directory, one after the other; all are stopped at the end."""
    started: list[CoordinatorProcess] = []

    def start(*arguments: str, **how: tuple[str, ...]) -> CoordinatorProcess:
        started.append(CoordinatorProcess(tmp_path / "data", ["--plugin", str(AGENTS), *arguments], **how))
        return started[-1]

    yield start
    for process in reversed(started):
        process.stop()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The data directory of the coordinators that `start` and `serve` start."""
    return tmp_path / "data"


@pytest.fixture
def serve(start: Callable[..., CoordinatorProcess]) -> Callable[..., CoordinatorProcess]:
    """Start coordinators as `start` does, with the behaviours of the storage tests."""
    return partial(start, "--plugin", str(STORAGE_AGENTS))
