"""A coordinator with the integration tests' behaviours, shared by the tests of a module, and its command line."""

from collections.abc import Iterator

import pytest
from command_line import AGENTS, Cli
from hundredfold.testing.coordinator import CoordinatorProcess, running_coordinator


@pytest.fixture(scope="module")
def coordinator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorProcess]:
    with running_coordinator(tmp_path_factory.mktemp("data"), plugins=[AGENTS]) as process:
        yield process


@pytest.fixture
def cli(coordinator: CoordinatorProcess) -> Cli:
    return Cli(coordinator.data_dir)
