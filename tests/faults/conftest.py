"""What fault tests share: coordinators on one data directory, and how often those that draw lots draw them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # this folder is no package, and its tests share some tools
from storage_tools import AGENTS, CoordinatorProcess, Start  # from there


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `pytest tests/faults --runs N --seed N`."""
    parser.addoption("--seed", type=int, default=None, help="seed of the first of these runs")
    parser.addoption("--runs", type=int, default=5, help="runs of every fault test that draws lots")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def start(data_dir: Path) -> Iterator[Start]:
    """Start coordinators on one data directory, one after the other; all are stopped at the end."""
    started: list[CoordinatorProcess] = []

    def start(*arguments: str) -> CoordinatorProcess:
        started.append(CoordinatorProcess(data_dir, ["--plugin", str(AGENTS), *arguments]))
        return started[-1]

    yield start
    for process in reversed(started):
        process.stop()
