"""Shows that a coordinator that starts can be heard of, however many tasks it has to take up."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hundredfold.stores.memory import MemoryStore
from hundredfold_coordinator import daemon
from hundredfold_coordinator.config import Config
from hundredfold_coordinator.outage import Outage
from hundredfold_coordinator.storage import Storage


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    storage = Storage()
    await storage.open(MemoryStore)
    yield storage
    await storage.close()


async def test_the_loop_goes_on_while_tasks_are_taken_up(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen red when it was done in the loop: two seconds for a hundred thousand tasks, without a heartbeat."""
    monkeypatch.setattr(daemon, "recover", lambda *_arguments: time.sleep(0.3) or [])
    starting = daemon.Daemon(
        Config(data_dir=tmp_path, runtime_dir=tmp_path, store="memory:", ballast_bytes=0), lambda _addresses: None
    )
    starting._room, starting._outage, starting._storage = daemon._room(starting._config), Outage(), storage
    starting._wire(storage)
    recovering = asyncio.ensure_future(starting._recover())
    turns = 0
    while not recovering.done():
        await asyncio.sleep(0.01)
        turns += 1
    await recovering
    assert turns > 10
