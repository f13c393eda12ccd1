"""Shows what is not let in, by number, by bytes and by tenant; what it is told; and what never counts."""

from typing import TYPE_CHECKING, Any

import pytest
from hundredfold.errors import HundredfoldError, QueueFull, StoreFull, StoreUnreachable
from hundredfold.internal.v1 import records_pb2
from hundredfold.v1 import payload_pb2, session_pb2
from hundredfold_coordinator.core import door, events
from hundredfold_coordinator.core.door import refusal

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core, Told

SECOND = 1_000_000_000
INPUT = payload_pb2.Payload(data=b"x" * 100)
SIZE = INPUT.ByteSize()


def setting(error: HundredfoldError | None) -> str:
    assert isinstance(error, QueueFull)
    return error.setting


def retry_seconds(core: "Core", size: int = 0) -> int:
    found = refusal(core.state, "", size, core.now_ns)
    assert isinstance(found, QueueFull)
    return found.retry_seconds


# Bytes ----------------------------------------------------------------------------------------------------------------


def test_as_many_bytes_may_wait_as_the_queue_holds(core: "Core") -> None:
    core.limit(queue_bytes=2 * SIZE)
    core.submit("t1", input=INPUT)
    core.submit("t2", input=INPUT)
    told = core.submit("t3", input=payload_pb2.Payload(data=b"x"))
    assert told.error.figures() == {
        "limit": 2 * SIZE,
        "what": "bytes of input",
        "retry_seconds": 5,
        "setting": "queue_bytes",
    }
    assert told.writes == {}
    core.cancel("t1")
    assert core.submit("t4", input=INPUT).reply == "t4", "there is room again"


def test_what_runs_takes_no_bytes_of_the_queue(house: "Core") -> None:
    house.limit(queue_bytes=SIZE)
    house.submit("t1", input=INPUT)
    assert house.submit("t2", input=INPUT).reply == "t2"


def test_bytes_are_counted_again_when_a_task_comes_back(house: "Core") -> None:
    house.limit(queue_bytes=SIZE, concurrency=1)
    house.submit("t1", input=INPUT)
    house.tell(events.HostDetached, host="host-1")
    house.tell(events.HostLost, host="host-1")
    assert "t1" in house.state.queue
    assert setting(house.submit("t2", input=INPUT).error) == "queue_bytes"


# Tenants --------------------------------------------------------------------------------------------------------------


def test_a_tenant_fills_its_own_part_only(core: "Core") -> None:
    core.limit(tenant_queue_limit=2)
    assert [core.submit(f"a{number}", tenant="A").reply for number in range(2)] == ["a0", "a1"]
    assert core.submit("a2", tenant="A").error.figures() == {
        "limit": 2,
        "what": "tasks of tenant 'A'",
        "retry_seconds": 5,
        "setting": "tenant_queue_limit",
    }
    assert core.submit("b0", tenant="B").reply == "b0"


def test_who_waits_for_its_time_takes_its_place(core: "Core") -> None:
    core.limit(tenant_queue_limit=1, queue_bytes=2 * SIZE)
    core.submit("t1", tenant="A", input=INPUT, not_before={"seconds": 60})
    assert setting(core.submit("t2", tenant="A").error) == "tenant_queue_limit"
    core.submit("t3", tenant="B", input=INPUT)
    assert setting(core.submit("t4", tenant="C", input=INPUT).error) == "queue_bytes"


@pytest.mark.parametrize("limits", [{"tenant_queue_limit": 1}, {"queue_bytes": SIZE}, {"queue_limit": 1}])
def test_who_is_tried_again_goes_through_the_door(core: "Core", limits: dict[str, int]) -> None:
    core.limit(**limits)
    core.submit("t1", tenant="A", input=INPUT)
    core.cancel("t1")
    core.submit("t2", tenant="A", input=INPUT)
    told = core.tell(events.RetryRequested, task_id="t1", stored=core.stored("t1"), reply="client")
    assert setting(told.error) == next(iter(limits))


# Others ---------------------------------------------------------------------------------------------------------------


def test_a_full_store_takes_nothing_but_knows_what_it_has(core: "Core") -> None:
    core.submit("t1", request_id="once")
    core.tell(events.StoreRoomChanged, full=True)
    told = core.submit("t2")
    assert isinstance(told.error, StoreFull)
    assert told.error.retry_seconds == 5
    assert core.submit("t3", request_id="once").reply == "t1"


def write_session(core: "Core", text: bytes, request_id: str) -> "Told":
    writes = session_pb2.SessionWrites(append=[session_pb2.SessionItem(role="user", content=text)], merge=True)
    request = records_pb2.SessionRequest(request_id=request_id, digest=text)
    fields = {"session_id": "s", "session": core.session("s"), "writes": writes, "request": request}
    return core.tell(events.SessionWritten, **fields, reply="client")


@pytest.mark.parametrize(
    ("event", "fields", "expected"),
    [
        (events.StoreRoomChanged, {"full": True}, StoreFull),
        (events.StoreOutageChanged, {"error": StoreUnreachable("there", "it is away", 3)}, StoreUnreachable),
    ],
    ids=["full", "away"],
)
def test_clients_write_to_no_session_then_but_what_they_wrote_is_known(
    core: "Core", event: Any, fields: dict[str, Any], expected: type[HundredfoldError]
) -> None:
    write_session(core, b"1", "once")
    core.tell(event, **fields)
    assert isinstance(write_session(core, b"2", "twice").error, expected)
    assert write_session(core, b"1", "once").reply == 1


def test_what_frees_room_is_let_in_when_there_is_none(core: "Core") -> None:
    core.tell(events.StoreRoomChanged, full=True)
    assert isinstance(door.shut(core.state), StoreFull)
    assert door.shut(core.state, frees_room=True) is None
    core.tell(events.StoreOutageChanged, error=StoreUnreachable("there", "it is away", 3))
    assert isinstance(door.shut(core.state, frees_room=True), StoreUnreachable)


@pytest.mark.parametrize("limits", [{"tenant_queue_limit": 1}, {"queue_bytes": SIZE}, {"queue_limit": 1}])
def test_a_repetition_is_never_refused(core: "Core", limits: dict[str, int]) -> None:
    core.limit(**limits)
    core.submit("t1", tenant="A", input=INPUT, request_id="once")
    assert core.submit("t2", tenant="A", input=INPUT, request_id="once").reply == "t1"


# When to come again ---------------------------------------------------------------------------------------------------


def fill(core: "Core", tasks: int, *starts: float) -> None:
    """Let so many wait, and so many have been started at these seconds."""
    core.limit(queue_limit=tasks)
    for number in range(tasks):
        core.submit(f"t{number:04}")
    for second in starts:
        core.state.starts.note(int(second * SECOND))


def test_it_is_told_when_a_twentieth_will_have_been_started(core: "Core") -> None:
    fill(core, 200, *range(1, 11))
    core.now_ns = 11 * SECOND
    assert retry_seconds(core) == 10, "ten, one a second"
    for _ in range(30):
        core.state.starts.note(11 * SECOND)
    assert retry_seconds(core) == 3


def test_nobody_is_sent_away_for_more_than_a_minute(core: "Core") -> None:
    fill(core, 3000, 1)
    core.now_ns = 31 * SECOND
    assert retry_seconds(core) == 60


def test_only_the_last_minute_counts(core: "Core") -> None:
    fill(core, 200, *[1] * 1000, 100, 101)
    core.now_ns = 102 * SECOND
    assert retry_seconds(core) == 10, "two in two seconds"
    core.now_ns = 1000 * SECOND
    assert retry_seconds(core) == 5, "nobody knows"
