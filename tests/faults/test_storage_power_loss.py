"""Power cuts: nothing that was acknowledged is lost, and where it would be, that is noticed.

`pytest tests/faults --runs 100` draws more of them.
"""

import random
from pathlib import Path

import pytest
from storage_power_loss import Ledger, Machine
from storage_tools import AGENTS, Serve, store_command


def test_no_power_cut_takes_what_was_acknowledged(data_dir: Path, serve: Serve, request: pytest.FixtureRequest) -> None:
    # Off: `synchronous`; the next test is this one without it.
    seed = request.config.getoption("--seed")
    ledger = Ledger()
    for run in range(request.config.getoption("--runs")):
        print(f"replay: ./scripts/test tests/faults -k no_power_cut --runs 1 --seed {seed + run}")
        machine = Machine(data_dir, seed + run, "FULL", ["--plugin", str(AGENTS)])
        ledger.write_until_cut(machine, random.Random(seed + run).uniform(0.1, 1))
    print(f"{len(ledger.accepted)} tasks accepted, {len(ledger.results)} results seen")
    assert ledger.results
    with serve().client() as client:
        assert ledger.losses(client) == []


@pytest.mark.parametrize("synchronous", [pytest.param("OFF", marks=pytest.mark.soak), "NORMAL"])
def test_power_cuts_without_protection_are_noticed(synchronous: str, data_dir: Path, serve: Serve) -> None:
    ledger = Ledger()
    ledger.write_until_cut(Machine(data_dir, 1, synchronous, ["--plugin", str(AGENTS)]), 1.5)
    with pytest.raises(AssertionError, match="STORE_DAMAGED"):
        serve()
    store_command(data_dir, "accept-loss")
    with serve().client() as client:
        losses = ledger.losses(client)
    assert any("is lost" in loss for loss in losses)
