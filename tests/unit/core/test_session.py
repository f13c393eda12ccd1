"""Shows what clients write to sessions, and what is recognised when it comes again."""

from typing import TYPE_CHECKING, Any

import pytest
from hundredfold.errors import PayloadTooLarge, SessionBusy, SessionConflict, SessionRequestReused, UnknownSession
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Write
from hundredfold.v1 import session_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import events, session
from hundredfold_coordinator.core.session import REQUESTS_KEPT

if TYPE_CHECKING:
    from tests.unit.core.conftest import Core, Told


def write(core: "Core", request_id: str = "", digest: bytes = b"d", **writes: Any) -> "Told":
    said = session_pb2.SessionWrites(**{"expected_version": core.session("s").version, **writes})
    request = records_pb2.SessionRequest(request_id=request_id, digest=digest)
    fields = {"session_id": "s", "session": core.session("s"), "writes": said, "request": request, "reply": "client"}
    return core.tell(events.SessionWritten, **fields)


def item(text: str) -> session_pb2.SessionItem:
    return session_pb2.SessionItem(role="user", content=text.encode())


def test_items_are_numbered_and_belong_to_no_task(core: "Core") -> None:
    assert write(core, append=[item("1"), item("2")]).reply == 1
    assert write(core, append=[item("3")], set={"a": b"1"}).reply == 2
    found = core.store.scan(keys.items_of("s", 0))
    items = [session_pb2.SessionItem.FromString(entry.record.value) for entry in found]
    assert [(one.number, one.content, one.task_id) for one in items] == [(1, b"1", ""), (2, b"2", ""), (3, b"3", "")]
    assert core.session("s").HasField("update_time")


def test_an_older_version_is_refused_unless_it_is_to_be_merged(core: "Core") -> None:
    write(core, append=[item("1")])
    assert isinstance(write(core, expected_version=0, append=[item("2")]).error, SessionConflict)
    assert write(core, expected_version=0, append=[item("2")], merge=True).reply == 2


def test_the_last_hundred_requests_are_recognised(core: "Core") -> None:
    for number in range(REQUESTS_KEPT + 30):
        assert write(core, f"r{number}", set={"n": b"%d" % number}).reply == number + 1
    assert len(core.session("s").requests) == REQUESTS_KEPT
    assert write(core, "r30", set={"n": b"30"}).reply == 31, "the oldest of them"
    assert isinstance(write(core, "r31", digest=b"other").error, SessionRequestReused)
    assert core.session("s").version == REQUESTS_KEPT + 30


def test_the_state_cannot_grow_for_ever(core: "Core", monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given to every attempt as a whole."""
    monkeypatch.setattr(session, "STATE_BYTES", 1000)
    assert write(core, set={"a": b"1" * 600}).reply == 1
    error = write(core, set={"b": b"1" * 600}).error
    assert isinstance(error, PayloadTooLarge)
    assert (error.field, error.limit) == ("session.state", 1000)
    assert write(core, delete=["a"]).reply == 2
    assert write(core, set={"b": b"1" * 600}).reply == 3


def test_an_attempt_that_makes_it_grow_too_far_has_failed(house: "Core", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "STATE_BYTES", 1000)
    attempt = house.run("t1", session="s")
    writes = session_pb2.SessionWrites(set={"a": b"1" * 2000})
    assert isinstance(house.complete(attempt, session_writes=writes).error, PayloadTooLarge)
    assert house.states()[-1] == "FAILED"
    assert not house.has(keys.session("s"))


def test_a_session_is_deleted_when_no_task_has_it(house: "Core") -> None:
    write(house, append=[item("1"), item("2")])
    attempt = house.run("t1", session="s")
    gone = {"session_id": "s", "session": house.session("s"), "reply": "client"}
    refused = house.tell(events.SessionDeleted, **gone)
    assert isinstance(refused.error, SessionBusy)
    assert refused.error.task_id == "t1"
    house.complete(attempt)
    house.exited("t1")
    assert house.tell(events.SessionDeleted, **gone).reply is None
    assert not house.has(keys.session("s"))
    assert house.has(keys.deletion_of_items("s")), "which says that its items are to go"
    again = house.tell(events.SessionDeleted, **{**gone, "session": house.session("s")})
    assert isinstance(again.error, UnknownSession)


def delete(core: "Core", name: str = "s") -> None:
    """Delete a session, with its items."""
    core.tell(events.SessionDeleted, session_id=name, session=core.session(name), reply="client")
    core.store.commit([Batch([Write(entry.key, None) for entry in core.store.scan(keys.items_of(name, 0))])])


def test_a_version_never_comes_again_after_a_deletion(core: "Core") -> None:
    """Or a compare-and-set that was meant for the deleted session would change the new one."""
    versions = [write(core, append=[item(text)]).reply for text in "abc"]
    delete(core)
    assert write(core, "r", expected_version=0, append=[item("new")]).reply == 4
    assert write(core, "r", expected_version=0, append=[item("new")]).reply == 4
    assert all(
        isinstance(write(core, expected_version=old, set={"a": b"1"}).error, SessionConflict) for old in versions
    )
    delete(core)
    assert write(core, merge=True, expected_version=0, append=[item("newer")]).reply == 5


def test_it_does_not_whichever_session_is_deleted_last(core: "Core") -> None:
    for name, writes in (("s", 1), ("other", 5)):
        for _ in range(writes):
            said = session_pb2.SessionWrites(append=[item("x")], merge=True)
            fields = {"session_id": name, "session": core.session(name), "writes": said, "reply": "client"}
            core.tell(events.SessionWritten, **fields, request=records_pb2.SessionRequest())
    delete(core, "other")
    delete(core, "s")
    assert write(core, merge=True, append=[item("new")]).reply == 6


def test_it_does_not_after_an_attempt_wrote_it_first(house: "Core") -> None:
    write(house, append=[item("1")])
    delete(house)
    house.complete(house.run("t1", session="s"), session_writes=session_pb2.SessionWrites(append=[item("2")]))
    assert house.session("s").version == 2
