"""Shows that a check finds every kind of contradiction, and none in a store that a coordinator has written."""

import asyncio
import json
from typing import cast

import pytest
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Store, Write
from hundredfold.stores.memory import MemoryStore
from hundredfold.v1 import payload_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.consistency import Check
from hundredfold_coordinator.core import events, lifecycle
from hundredfold_coordinator.core.decide import decide
from hundredfold_coordinator.core.state import Limits, State
from hundredfold_coordinator.export import exported, line, read_page
from hundredfold_coordinator.journal import Journal
from hundredfold_coordinator.services.store_service import StoreService
from hundredfold_coordinator.storage import Storage


@pytest.fixture
def store() -> MemoryStore:
    """A store with a queued task, a cancelled one, and a session of two items."""
    store = MemoryStore()
    state = State(Limits(), lambda: "secret", lambda: 1.0)
    for task_id in ("t1", "t2"):
        spec = task_pb2.TaskSpec(behaviour="b", environment="default", input=payload_pb2.Payload(data=b"{}"))
        event = events.Submitted(
            now_ns=1, task_id=task_id, spec=spec, request_id=f"r-{task_id}", digest=b"d", stored=None, reply=None
        )
        store.commit([decide(state, event).batch])
    store.commit([decide(state, events.CancelRequested(now_ns=2, task_id="t2", reason="", reply=None)).batch])
    session = records_pb2.SessionRecord(version=1, item_count=2)
    items = [Write(keys.item("s/1", 0, number), b"") for number in (1, 2)]
    store.commit([Batch([Write(keys.session("s/1"), session.SerializeToString()), *items])])
    return store


def problems(store: Store) -> list[str]:
    check = Check()
    for look in check.looks():
        look(store)
    assert check.problem_count == len(check.problems)
    return check.problems


def put(store: Store, key: bytes, value: bytes | None = b"") -> None:
    store.commit([Batch([Write(key, value)])])


def test_what_a_coordinator_has_written_is_in_order(store: MemoryStore) -> None:
    check = Check()
    for look in check.looks():
        look(store)
    assert check.problems == []
    assert check.counts == {"task": 2, "input": 2, "live": 1, "event": 3, "request": 2, "session": 1, "item": 2}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (keys.live("t1"), None, "live/t1 is missing"),
        (keys.live("t2"), b"", "live/t2 is there and should not be"),
        (keys.dead("t1"), b"", "dead/t1 is there and should not be"),
        (keys.input_of("t1"), None, "input/t1 is missing"),
        (keys.result_of("t1"), b"", "result/t1 is there and should not be"),
        (keys.request("r-t1"), None, "request/r-t1 names nothing and not task t1"),
        (keys.event("t2", 2), None, "event/t2 ends at 1 and not at 2"),
        (keys.event("t2", 1), None, "event/t2/2 is there where number 1 should be"),
        (keys.event("t1", 2), b"", "event/t1 ends at 2 and not at 1"),
        (keys.item("s/1", 0, 2), None, "item/s/1 ends at 1 and not at 2"),
        (keys.item("s", 0, 1), b"", "item/s/1 is there without session/s"),
        (keys.item("s/1", 2, 1), b"", "item/s/1/generation 2/1 is there without session/s/1"),
        (keys.vector("c", 0, "r"), b"", "vector/c/r is there without collection/c"),
        (b"deletion/task/t", b"", "b'deletion/task/t' deletes nothing of the layout"),
        (b"item/s\0", b"", "b'item/s\\x00' has no generation"),
        (keys.live("t3"), b"", "live/t3 is there without task/t3"),
        (keys.dead("t3"), b"", "dead/t3 is there without task/t3"),
        (keys.live("t1"), b"x", "b'live/t1' holds something and should be empty"),
        (b"live", b"", "b'live' is no key of the layout"),
        (b"lease/x", b"", "b'lease/x' is no key of the layout"),
        (b"stranger/x", b"", "b'stranger/x' is no key of the layout"),
        (b"event/t1", b"", "b'event/t1' has no number"),
        (b"\xff/x", b"", "b'\\xff/x'"),
        (keys.input_of("t1"), b"\xff", "b'input/t1'"),
        (keys.task("t1"), b"\xff", "b'task/t1'"),
        (keys.session("s/1"), b"\xff", "b'session/s/1'"),
    ],
)
def test_every_contradiction_is_found(store: MemoryStore, key: bytes, value: bytes | None, told: str) -> None:
    put(store, key, value)
    found = problems(store)
    assert len(found) == 1
    assert found[0].startswith(told)


def test_a_record_in_anothers_place_is_found(store: MemoryStore) -> None:
    (record,) = store.get([keys.task("t1")])
    assert record
    put(store, keys.task("t9"), record.value)
    assert problems(store) == ["task/t9 holds task 't1'"]


def test_an_ended_task_is_live_as_long_as_a_process_of_it_may_be(store: MemoryStore) -> None:
    (found,) = store.get([keys.task("t2")])
    assert found
    record = records_pb2.TaskRecord.FromString(found.value)
    record.alive[1].process.pid = 1
    put(store, keys.task("t2"), record.SerializeToString())
    assert problems(store) == ["live/t2 is missing"]


def test_many_problems_are_counted_and_a_thousand_are_told() -> None:
    store = MemoryStore()
    for number in range(1200):
        put(store, keys.live(f"t{number}"))
    check = Check()
    for look in check.looks():
        look(store)
    assert (check.problem_count, len(check.problems)) == (1200, 1000)


def test_an_export_has_every_record(store: MemoryStore) -> None:
    put(store, b"\xff/x", b"\x01")
    put(store, keys.input_of("t1"), b"\xff")
    lines = [json.loads(line(record)) for record in exported(read_page(store, b""))]
    by_key = {row["key"]: row for row in lines}
    assert len(by_key) == len(store.scan(b""))
    assert by_key["task/t1"]["type"] == "hundredfold.internal.v1.TaskRecord"
    assert by_key["task/t1"]["value"]["task"]["state"] == "TASK_STATE_QUEUED"
    assert by_key["event/t2/2"]["value"]["sequence"] == "2"
    assert by_key["live/t1"] == {"key": "live/t1", "version": 1, "type": "", "value": None}
    assert by_key["input/t1"]["value"] == "ff"
    assert by_key["\\xff/x"]["value"] == "01"
    assert lifecycle.QUEUED


async def test_what_is_written_meanwhile_is_no_contradiction() -> None:
    storage = Storage()
    await storage.open(MemoryStore)
    state = State(Limits(), lambda: "secret", lambda: 1.0)
    journal = Journal(state, storage, lambda _effect: None)
    writer = asyncio.ensure_future(journal.run())

    async def write() -> None:
        for number in range(300):
            spec = task_pb2.TaskSpec(behaviour="b", environment="default")
            task_id = f"t{number:03}"
            fields = {"spec": spec, "request_id": "", "digest": b"", "stored": None, "reply": None}
            journal.post(events.Submitted(now_ns=1, task_id=task_id, **fields))  # type: ignore[arg-type]
            if number > 20:
                old = f"t{number - 20:03}"
                journal.post(events.CancelRequested(now_ns=1, task_id=old, reason="", reply=None))
            await asyncio.sleep(0)

    writing = asyncio.ensure_future(write())
    found = []
    while not writing.done():
        response = await StoreService(storage).CheckStore(cast("object", None), None)  # type: ignore[arg-type]
        found += response.problems
    assert found == []
    journal.stop()
    await writer
    await storage.close()
