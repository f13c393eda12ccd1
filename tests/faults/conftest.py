"""What fault tests share: how often those that draw lots draw them."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `pytest tests/faults --runs N --seed N`."""
    parser.addoption("--seed", type=int, default=None, help="seed of the first of these runs")
    parser.addoption("--runs", type=int, default=5, help="runs of every fault test that draws lots")
