"""Shows what becomes of the hosts that an earlier coordinator has left: taken up, ended, waited for, or given up."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf import duration_pb2
from hundredfold.identity import boot_id, identity, pid_namespace
from hundredfold.internal.v1 import host_service_pb2, records_pb2
from hundredfold.stores.contract import Batch, Capabilities, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold_coordinator import host_processes, keys
from hundredfold_coordinator.host_processes import HostProcesses
from hundredfold_coordinator.storage import Storage

HERE = "unix:/here/worker.sock"
ELSEWHERE = records_pb2.ProcessIdentity(pid=1, start_ticks=1, boot_id="another machine's")


class Shared(MemoryStore):
    """A store that several coordinators may open."""

    capabilities = Capabilities(durable=True, shared=True)


class World:
    """Hosts in a store, and those that were lost."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.lost: list[str] = []
        template = host_service_pb2.HostConfig(address=HERE)
        self.processes = HostProcesses(storage, template, self.lost.append, wanted=0, version="1")

    async def begin(self, process: records_pb2.ProcessIdentity, address: str = HERE, orphan_seconds: int = 0) -> None:
        orphan_time = duration_pb2.Duration(seconds=orphan_seconds)
        record = records_pb2.HostRecord(host_id="h", process=process, address=address, orphan_time=orphan_time)
        await self.storage.commit([Batch([Write(keys.host("h"), record.SerializeToString())])])
        await self.processes.begin()


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    storage = Storage()
    await storage.open(getattr(request, "param", Shared))
    world = World(storage)
    yield world
    await storage.close()


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    """Something that lives as a host does."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


IN_A_FILE = pytest.mark.parametrize("world", [MemoryStore], indirect=True)


async def until_lost(world: World) -> None:
    async with asyncio.timeout(5):
        while not world.lost:
            await asyncio.sleep(0.01)


def here(process: "subprocess.Popen[bytes]") -> records_pb2.ProcessIdentity:
    found = identity(process.pid)
    assert found
    return found


@pytest.mark.parametrize("address", [HERE, ""], ids=["recorded", "of before that was recorded"])
async def test_a_host_that_lives_is_taken_up(world: World, process: "subprocess.Popen[bytes]", address: str) -> None:
    await world.begin(here(process), address)
    assert world.processes.alive
    assert world.processes.knows("h")
    assert process.poll() is None
    world.processes.kill_all()
    await until_lost(world)


async def test_a_host_that_looks_for_another_coordinator_is_ended(
    world: World, process: "subprocess.Popen[bytes]"
) -> None:
    """Seen red when it was waited for: it would have ended itself after its `orphan_seconds`."""
    await world.begin(here(process), "unix:/there/worker.sock", orphan_seconds=60)
    assert world.lost == [], "what it runs is not given up before it has ended"
    await until_lost(world)
    assert not world.processes.alive


@IN_A_FILE
async def test_it_is_not_where_only_one_coordinator_can_be_meant(
    world: World, process: "subprocess.Popen[bytes]"
) -> None:
    await world.begin(here(process), "unix:/there/worker.sock")
    await asyncio.sleep(0.05)
    assert world.lost == []
    world.processes.kill_all()
    await until_lost(world)


async def test_a_host_of_this_machine_that_is_gone_is_lost(world: World) -> None:
    await world.begin(
        records_pb2.ProcessIdentity(pid=1, start_ticks=1, boot_id=boot_id(), pid_namespace=pid_namespace())
    )
    assert world.lost == ["h"]


async def test_a_host_of_another_machine_is_lost_when_it_has_ended_itself(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen red when it was lost at once: what it went on with was begun a second time beside it."""
    monkeypatch.setattr(host_processes, "_NOTICE_SECONDS", 0.1)
    began = time.monotonic()
    await world.begin(ELSEWHERE, orphan_seconds=1)
    assert (world.processes.knows("h"), world.processes.is_elsewhere("h"), world.processes.alive) == (True, True, False)
    await until_lost(world)
    assert time.monotonic() - began > 1
    assert not world.processes.knows("h")


@IN_A_FILE
async def test_before_another_start_of_the_machine_nothing_of_a_file_was_elsewhere(world: World) -> None:
    await world.begin(ELSEWHERE, orphan_seconds=60)
    assert world.lost == ["h"]
