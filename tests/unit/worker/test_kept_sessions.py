"""Shows the sessions that an agent keeps in its own memory: what is in them, and what never is."""

import pytest
from hundredfold import Item
from hundredfold.session import Session
from hundredfold_worker.kept_sessions import KeptSessions


@pytest.fixture
def kept() -> KeptSessions:
    """Sessions in the memory of an agent."""
    return KeptSessions()


def write(kept: KeptSessions, task_id: str, *items: tuple[str, object], name: str = "s", **state: object) -> None:
    """Have a task write to a session and succeed."""
    session = kept.open(Session, name)
    for role, content in items:
        session.append(role, content)
    session.state.update(state)
    kept.keep(session, task_id)


def test_a_session_is_empty_at_first(kept: KeptSessions) -> None:
    session = kept.open(Session, "s")
    assert (session.id, session.version, session.items(), dict(session.state)) == ("s", 0, [], {})


def test_items_have_their_numbers_and_their_tasks(kept: KeptSessions) -> None:
    write(kept, "t1", ("user", "a"), ("agent", "b"))
    write(kept, "t2", ("user", "c"))
    items = kept.open(Session, "s").items()
    assert items == [Item("user", "a", {}, 1, "t1"), Item("agent", "b", {}, 2, "t1"), Item("user", "c", {}, 3, "t2")]


def test_what_is_appended_is_seen_and_not_kept_before_it_is_delivered(kept: KeptSessions) -> None:
    write(kept, "t1", ("user", "a"))
    session = kept.open(Session, "s")
    session.append("user", "lost")
    assert [item.content for item in session.items()] == ["a", "lost"]
    assert [item.content for item in kept.open(Session, "s").items()] == ["a"]


def test_state_is_written_and_deleted(kept: KeptSessions) -> None:
    write(kept, "t1", a=1, b=2)
    session = kept.open(Session, "s")
    del session.state["a"]
    assert dict(kept.open(Session, "s").state) == {"a": 1, "b": 2}
    kept.keep(session, "t2")
    assert dict(kept.open(Session, "s").state) == {"b": 2}


def test_what_is_changed_in_place_is_not_kept(kept: KeptSessions) -> None:
    write(kept, "t1", ("user", {"words": ["a"]}), deep=[1])
    session = kept.open(Session, "s")
    session.state["deep"].append(2)
    session.items()[0].content["words"].append("b")
    again = kept.open(Session, "s")
    assert (again.state["deep"], again.items()[0].content) == ([1], {"words": ["a"]})


def test_the_version_counts_what_was_delivered(kept: KeptSessions) -> None:
    write(kept, "t1")
    write(kept, "t2", ("user", "a"))
    kept.open(Session, "s")
    assert kept.open(Session, "s").version == 2
    assert kept.open(Session, "other").version == 0


def test_the_newest_items_are_read_without_the_others(kept: KeptSessions) -> None:
    write(kept, "t1", *(("user", number) for number in range(10)))
    session = kept.open(Session, "s")
    assert [item.content for item in session.items(last=2)] == [8, 9]
    assert len(session.items("agent")) == 0


def test_search_finds_every_word_newest_first(kept: KeptSessions) -> None:
    texts = ["The quick brown fox", "a lazy dog", {"title": "Ein FUCHS", "words": "quick"}, "naïve quick"]
    write(kept, "t1", *(("user", text) for text in texts), ("tool", "quick"))
    session = kept.open(Session, "s")
    assert [item.number for item in session.search("QUICK")] == [5, 4, 3, 1]
    assert [item.number for item in session.search("quick fox")] == [1]
    assert [item.number for item in session.search("naïve")] == [4]
    assert [item.number for item in session.search("quick", limit=1, role="user")] == [4]
    assert kept.open(Session, "other").search("quick") == []
