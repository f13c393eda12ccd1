"""Shows what a host does about a machine that runs short, with invented workers, and what it tells of it, and when."""

import asyncio
import os
from dataclasses import dataclass, field
from typing import cast

import pytest
from hundredfold.internal.v1 import host_service_pb2 as pb
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import behaviour_pb2, coordinator_service_pb2
from hundredfold_host import host as hosts
from hundredfold_host import proc
from hundredfold_host.containment.session import Session
from hundredfold_host.host import Host
from hundredfold_host.worker import Moment, Use, Worker

MIB = 1 << 20
NOBODY = 1 << 30  # above any pid that a kernel gives


@dataclass
class FakeWorker:
    """What a host looks at before it evicts; `pid` is a process that is not there, and has no memory."""

    launch: pb.Launch
    use: Use
    forked: Moment
    pid: int = NOBODY
    ending: bool = False
    evictions: list[str] = field(default_factory=list)
    key: pb.AttemptKey = field(default_factory=lambda: pb.AttemptKey(task_id="a", number=1))
    identity: records_pb2.ProcessIdentity = field(default_factory=records_pb2.ProcessIdentity)

    def evict(self, why: str) -> None:
        self.evictions.append(why)


class House:
    """A host of a machine with 100 MiB of head-room."""

    def __init__(self, reserve_bytes: int = MIB) -> None:
        self.host = Host(pb.HostConfig(host_id="h", memory_reserve_bytes=reserve_bytes), Session())
        self.workers: dict[str, FakeWorker] = {}

    def add(self, name: str, used: int = 50, reserved: int = 100, *, retriable: bool = True, priority: int = 0) -> None:
        launch = pb.Launch(reservation_bytes=reserved * MIB, priority=priority, evictable=retriable)
        born = Moment(0, len(self.workers))
        worker = self.workers[name] = FakeWorker(launch, Use(pss_bytes=used * MIB), born)
        self.host._workers[name, 1] = cast("Worker", worker)

    def evicted(self, free: int, growth: int = 0, headroom: int = 100) -> list[str]:
        """Return who is evicted when so many MiB are free."""
        machine = coordinator_service_pb2.Machine(
            memory_free_bytes=free * MIB, memory_growth_bytes=growth * MIB, headroom_bytes=headroom * MIB
        )
        self.host._evict(machine)
        return [name for name, worker in self.workers.items() if worker.evictions]


@pytest.fixture
async def house() -> House:
    return House()


async def test_while_there_is_enough_nobody_is_evicted(house: House) -> None:
    house.add("a")
    assert house.evicted(60) == []
    assert house.evicted(40) == ["a"]
    assert house.workers["a"].evictions[0].startswith("40 MiB were free")


async def test_where_memory_is_not_looked_at_nobody_is_evicted(house: House) -> None:
    house.add("a", used=500)
    assert house.evicted(0, growth=1000, headroom=0) == []


async def test_what_will_be_used_up_before_anything_can_be_done_counts(house: House) -> None:
    house.add("leak", used=500, reserved=64)
    assert house.evicted(140, growth=100) == []
    assert house.evicted(140, growth=200) == ["leak"]


async def test_who_is_chosen_follows_from_what_it_was_launched_with(house: House) -> None:
    house.add("last", retriable=False)
    house.add("high", used=60, priority=5)
    house.add("low", used=60, priority=-5)
    house.add("young", used=60, priority=5)
    house.add("over", used=90, reserved=50, priority=9)
    assert house.evicted(45) == ["over"]
    del house.workers["over"], house.host._workers["over", 1]
    assert house.evicted(45) == ["low"]
    del house.workers["low"], house.host._workers["low", 1]
    assert house.evicted(45) == ["young"]


async def test_who_is_told_to_end_is_not_told_again_and_what_it_gives_back_counts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proc, "private_bytes", lambda pid: 30 * MIB if pid == os.getpid() else 0)
    house.add("going", used=500)
    house.add("other")
    house.workers["going"].ending = True
    assert house.evicted(25) == ["other"]
    house.workers["other"].evictions.clear()
    house.workers["going"].pid = os.getpid()
    assert house.evicted(25) == []


async def test_who_has_grown_since_it_was_measured_counts_with_what_it_has(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proc, "private_bytes", lambda pid: 500 * MIB if pid == os.getpid() else 0)
    house.add("young", used=0)
    house.add("grown", used=0)
    house.workers["grown"].pid = os.getpid()
    assert house.evicted(40) == ["grown"]


async def test_a_coordinator_hears_what_is_free_before_it_hears_where_anything_can_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house, told = House(), []
    monkeypatch.setattr(house.host._link, "mention", lambda report: told.append(report.WhichOneof("kind")))
    house.host._link._attached_at = 0
    house.host._zygotes["default"] = cast("hosts.Zygote", FakeZygote())
    await house.host._obey(pb.AttachResponse(commands=[pb.HostCommand(welcome=pb.Welcome(epoch=1))]))
    assert told == ["usage", "environment"]


class FakeZygote:
    """An environment that is ready, with nothing in it."""

    environment = behaviour_pb2.Environment(name="default")

    def forget_waiting(self) -> list[tuple[str, int]]:
        return []


@pytest.mark.parametrize("calm", [True, False])
async def test_a_calm_machine_is_looked_at_less_often_unless_somebody_comes(
    house: House, monkeypatch: pytest.MonkeyPatch, *, calm: bool
) -> None:
    looks: list[coordinator_service_pb2.Machine] = []
    monkeypatch.setattr(house.host, "_evict", looks.append)
    monkeypatch.setattr(house.host._machine, "is_calm", lambda _: calm)
    monkeypatch.setattr(hosts, "SAMPLE_SECONDS", 0)
    monkeypatch.setattr(hosts, "CALM_SECONDS", 3600)
    house.add("a")
    watching = asyncio.ensure_future(house.host._watch_machine())
    await turns()
    assert (len(looks) == 1) == calm
    house.host.launched(cast("Worker", house.workers["a"]))
    await turns()
    assert len(looks) > 1, "whoever launches waits to hear what that has come to"
    watching.cancel()


async def turns() -> None:
    """Let everybody have a few turns."""
    for _ in range(20):
        await asyncio.sleep(0)
