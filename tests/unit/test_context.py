"""Shows what a behaviour is given, and that what it writes is remembered for the commit of its result."""

import asyncio
import logging
import math
import re
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from hundredfold import Context, SyncContext
from hundredfold.session import Item, Session, State

NO_JSON = [object(), {1, 2}, b"bytes", [object()], {"a": {"b": object()}}, math.nan, math.inf, {(1, 2): 3}]


@dataclass
class Port:
    """Takes what a context sends."""

    events: list[Any] = field(default_factory=list)
    checkpoints: list[Any] = field(default_factory=list)

    def emit(self, value: object) -> None:
        self.events.append(value)

    def save_checkpoint(self, value: object) -> None:
        self.checkpoints.append(value)


# The state of a session -----------------------------------------------------------------------------------------------


def test_a_new_state_has_what_it_was_given_and_nothing_to_write() -> None:
    state = State({"a": 1, "b": [2]})
    assert (dict(state), len(state), "a" in state, "x" in state) == ({"a": 1, "b": [2]}, 2, True, False)
    assert (state.written, state.deleted) == ({}, set())


def test_what_is_set_is_read_and_written() -> None:
    state = State({"a": 1})
    state["a"] = 2
    state["b"] = {"c": None}
    assert dict(state) == {"a": 2, "b": {"c": None}}
    assert (state.written, state.deleted) == ({"a": 2, "b": {"c": None}}, set())


def test_what_is_deleted_is_gone_and_deleted() -> None:
    state = State({"a": 1, "b": 2})
    state["b"] = 3
    del state["a"], state["b"]
    assert dict(state) == {}
    assert (state.written, state.deleted) == ({}, {"a", "b"})


def test_what_is_set_after_it_was_deleted_is_written() -> None:
    state = State({"a": 1})
    del state["a"]
    state["a"] = 2
    assert (state.written, state.deleted) == ({"a": 2}, set())


def test_the_ways_of_a_dictionary_are_remembered_too() -> None:
    state = State({"a": 1, "b": 2, "c": 3})
    assert state.pop("a") == 1
    assert state.setdefault("b", 0) == 2
    assert state.setdefault("d", 4) == 4
    assert state.get("x", 9) == 9
    state.update(c=30)
    assert dict(state) == {"b": 2, "c": 30, "d": 4}
    assert (state.written, state.deleted) == ({"c": 30, "d": 4}, {"a"})
    state.clear()
    assert (dict(state), state.written, state.deleted) == ({}, {}, {"a", "b", "c", "d"})


def test_what_is_missing_cannot_be_deleted() -> None:
    state = State({})
    with pytest.raises(KeyError):
        del state["a"]
    assert state.deleted == set()


def nameless(value: object) -> str:
    """Return what a value looks like, wherever it is: every run is to call it the same."""
    return re.sub(r" at 0x\w+", "", repr(value))


@pytest.mark.parametrize("value", NO_JSON, ids=nameless)
def test_what_is_no_json_is_refused_where_it_is_set(value: object) -> None:
    state = State({"a": 1})
    with pytest.raises((TypeError, ValueError)):
        state["a"] = value
    assert (dict(state), state.written) == ({"a": 1}, {})


def test_the_mapping_it_was_made_from_stays_as_it_is() -> None:
    origin = {"a": 1}
    State(origin)["a"] = 2
    assert origin == {"a": 1}


def test_changing_a_value_in_place_is_not_written() -> None:
    state = State({})
    value: list[Any] = [1]
    state["a"] = value
    value.append(object())
    assert state.written == {"a": [1]}


def test_changing_what_was_read_is_not_written() -> None:
    session = Session("s", items=[Item("user", [1])])
    session.state["a"] = [1]
    session.state["a"].append(object())
    session.append("agent", [1])
    session.items("agent")[0].content.append(object())
    assert (session.state.written, session.appended) == ({"a": [1]}, [Item("agent", [1])])


def test_a_key_that_is_no_text_is_refused_where_it_is_set() -> None:
    with pytest.raises(TypeError):
        State({})[1] = "one"  # type: ignore[index]  # that is the point


# The items of a session -----------------------------------------------------------------------------------------------


def test_items_are_what_was_there_and_what_was_appended() -> None:
    session = Session("s", version=3, items=[Item("user", "hello"), Item("agent", "hi")])
    session.append("user", {"text": "again"})
    assert session.items() == [Item("user", "hello"), Item("agent", "hi"), Item("user", {"text": "again"})]
    assert session.items("user") == [Item("user", "hello"), Item("user", {"text": "again"})]
    assert session.items("nobody") == []
    assert (session.id, session.version, session.appended) == ("s", 3, [Item("user", {"text": "again"})])


def test_an_empty_role_is_a_role() -> None:
    session = Session("s", items=[Item("", 1), Item("user", 2)])
    assert session.items("") == [Item("", 1)]


def test_a_nameless_session_has_nothing() -> None:
    session = Session("")
    assert (session.id, session.version, session.items(), dict(session.state)) == ("", 0, [], {})


@pytest.mark.parametrize("value", NO_JSON, ids=nameless)
def test_an_item_that_is_no_json_is_refused_where_it_is_appended(value: object) -> None:
    session = Session("s")
    with pytest.raises((TypeError, ValueError)):
        session.append("user", value)
    assert (session.items(), session.appended) == ([], [])


def test_the_list_of_items_belongs_to_the_caller() -> None:
    session = Session("s", items=[Item("user", 1)])
    session.items().clear()
    assert session.items() == [Item("user", 1)]


def test_changing_an_item_in_place_is_not_written() -> None:
    session, content = Session("s"), {"text": "hello"}
    session.append("user", content)
    content["text"] = "changed"
    assert session.appended == [Item("user", {"text": "hello"})]


def test_a_role_that_is_no_text_is_refused_where_it_is_appended() -> None:
    with pytest.raises(TypeError):
        Session("s").append(None, "hello")  # type: ignore[arg-type]  # that is the point


# The contexts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Context, SyncContext])
def test_a_context_knows_its_task(kind: type[Context] | type[SyncContext]) -> None:
    session = Session("s")
    context = kind(Port(), task_id="t", attempt=2, session=session, saved={"step": 1})
    assert (context.task_id, context.attempt, context.saved) == ("t", 2, {"step": 1})
    assert context.session is session


def test_nothing_saved_is_none() -> None:
    assert SyncContext(Port(), task_id="t", attempt=1, session=Session("")).saved is None


@pytest.mark.parametrize("kind", [Context, SyncContext])
def test_events_are_sent_in_order(kind: type[Context] | type[SyncContext]) -> None:
    port = Port()
    context = kind(port, task_id="t", attempt=1, session=Session(""))
    for value in (1, {"a": [None]}, "x"):
        context.emit(value)
    assert port.events == [1, {"a": [None]}, "x"]


def test_a_sync_checkpoint_is_saved_when_it_returns() -> None:
    port = Port()
    SyncContext(port, task_id="t", attempt=1, session=Session("")).checkpoint({"step": 2})
    assert port.checkpoints == [{"step": 2}]


async def test_an_async_checkpoint_is_saved_when_it_returns() -> None:
    port = Port()
    await Context(port, task_id="t", attempt=1, session=Session("")).checkpoint({"step": 2})
    assert port.checkpoints == [{"step": 2}]


async def test_an_async_checkpoint_lets_the_others_go_on() -> None:
    answered = threading.Event()

    class SlowPort(Port):
        def save_checkpoint(self, value: object) -> None:
            assert answered.wait(10)
            super().save_checkpoint(value)

    port = SlowPort()
    saving = asyncio.ensure_future(Context(port, task_id="t", attempt=1, session=Session("")).checkpoint(1))
    await asyncio.sleep(0)
    assert port.checkpoints == []
    answered.set()  # only a loop that is not blocked comes here
    await saving
    assert port.checkpoints == [1]


class FullPort(Port):
    def emit(self, value: object) -> None:
        raise OverflowError(value)

    save_checkpoint = emit


def test_what_the_port_raises_reaches_a_sync_behaviour() -> None:
    context = SyncContext(FullPort(), task_id="t", attempt=1, session=Session(""))
    with pytest.raises(OverflowError):
        context.emit(1)
    with pytest.raises(OverflowError):
        context.checkpoint(1)


async def test_what_the_port_raises_reaches_an_async_behaviour() -> None:
    context = Context(FullPort(), task_id="t", attempt=1, session=Session(""))
    with pytest.raises(OverflowError):
        context.emit(1)
    with pytest.raises(OverflowError):
        await context.checkpoint(1)


def test_the_log_is_a_logger(caplog: pytest.LogCaptureFixture) -> None:
    context = SyncContext(Port(), task_id="t", attempt=1, session=Session(""))
    with caplog.at_level(logging.INFO):
        context.log.info("step %d", 3)
    assert caplog.messages == ["step 3"]
