"""Shows what a commit comes to: which batches hold, and what every key has afterwards."""

from hundredfold.stores.contract import ABSENT, Batch, Committed, Conflict, Record, Write
from hundredfold.stores.plan import asked_keys, plan_commit


def test_only_keys_with_preconditions_are_asked_for() -> None:
    batches = [Batch([Write(b"a", b"1"), Write(b"b", b"2", ABSENT)]), Batch([Write(b"c", None, 7)])]
    assert asked_keys(batches) == {b"b", b"c"}


def test_every_batch_gets_a_version_and_every_key_its_last_value() -> None:
    batches = [Batch([Write(b"a", b"1"), Write(b"a", b"2")]), Batch([Write(b"a", b"3"), Write(b"b", None)])]
    plan = plan_commit(batches, {}, 10)
    assert plan.results == [Committed(11), Committed(12)]
    assert plan.changes == {b"a": Record(b"3", 12), b"b": None}
    assert plan.version == 12


def test_a_conflict_writes_nothing_and_takes_no_version() -> None:
    batches = [Batch([Write(b"a", b"1"), Write(b"b", b"2", 4)]), Batch([Write(b"c", b"3")])]
    plan = plan_commit(batches, {b"b": 5}, 10)
    assert plan.results == [Conflict(b"b"), Committed(11)]
    assert plan.changes == {b"c": Record(b"3", 11)}


def test_a_batch_sees_what_those_before_it_write() -> None:
    batches = [
        Batch([Write(b"a", b"1", ABSENT)]),
        Batch([Write(b"a", b"2", ABSENT)]),
        Batch([Write(b"a", None, 11)]),
        Batch([Write(b"a", b"4", ABSENT)]),
    ]
    plan = plan_commit(batches, {}, 10)
    assert plan.results == [Committed(11), Conflict(b"a"), Committed(12), Committed(13)]
    assert plan.changes == {b"a": Record(b"4", 13)}


def test_preconditions_see_the_state_before_their_own_batch() -> None:
    plan = plan_commit([Batch([Write(b"a", b"1"), Write(b"a", b"2", ABSENT)])], {}, 0)
    assert plan.results == [Committed(1)]
    assert plan.changes == {b"a": Record(b"2", 1)}
