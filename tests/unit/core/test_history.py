"""Shows what is kept of a machine's samples: the worst of each second, for ten minutes."""

from typing import TYPE_CHECKING

from hundredfold.v1 import coordinator_service_pb2 as pb
from hundredfold_coordinator.core import events
from hundredfold_coordinator.core.history import SPAN_SECONDS, History

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core

SECOND = 1_000_000_000


def note(history: History, at: float, *, host: str = "h", free: int = 0, workers: int = 0, stalled: float = 0) -> None:
    machine = pb.Machine(memory_free_bytes=free, pressure=pb.Pressure(memory_some=stalled))
    history.note(host, machine, reserved_bytes=7, workers=workers, now_ns=int(at * SECOND))


def test_a_second_is_as_bad_as_its_worst_moment() -> None:
    history = History()
    note(history, 1.0, free=500, workers=1)
    note(history, 1.5, free=100, workers=9, stalled=0.5)
    note(history, 1.9, free=400, workers=3)
    (sample,) = history.after(0)
    assert (sample.time.seconds, sample.memory_free_bytes, sample.workers, sample.memory_some) == (1, 100, 9, 0.5)
    assert sample.reserved_bytes == 7


def test_each_host_has_its_own() -> None:
    history = History()
    for host in ("h", "i"):
        note(history, 1, host=host, free=len(host))
    assert [sample.host for sample in history.after(0)] == ["h", "i"]


def test_only_what_is_later_is_told() -> None:
    history = History()
    for second in (1, 2, 3):
        note(history, second)
    assert [sample.time.seconds for sample in history.after(1 * SECOND)] == [2, 3]


def test_no_more_than_ten_minutes_are_kept_of_any_host() -> None:
    history = History()
    note(history, 1, host="gone")
    for second in range(2, SPAN_SECONDS + 12):
        note(history, second)
    kept = history.after(0)
    assert [kept[0].time.seconds, kept[-1].time.seconds, len(kept)] == [12, SPAN_SECONDS + 11, SPAN_SECONDS]
    assert {sample.host for sample in kept} == {"h"}


def test_what_a_host_measures_is_kept_also_when_it_is_lost(house: "Core") -> None:
    house.submit("t1")
    house.tell(events.MachineMeasured, host="host-1", machine=pb.Machine(memory_free_bytes=3), attempts=[])
    house.tell(events.HostLost, host="host-1")
    (sample,) = house.state.history.after(0)
    assert (sample.host, sample.memory_free_bytes, sample.workers) == ("host-1", 3, 1)
