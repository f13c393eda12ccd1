"""Shows how tasks that have ended are tried again or deleted, and how the one that kills hosts is found out."""

from typing import TYPE_CHECKING

import pytest
from hundredfold.errors import Draining, QueueFull, TaskHasResult, TaskNotEnded
from hundredfold.v1 import attempt_pb2, policy_pb2, task_pb2
from hundredfold_coordinator import keys
from hundredfold_coordinator.core import alarms, effects, events, scheduler
from hundredfold_coordinator.core.retry import QUARANTINE_DEATHS
from residents import POOL, deliver, given

if TYPE_CHECKING:
    from conftest import Core, Told
else:
    Core = Told = object


def retry(core: Core, task_id: str = "t1") -> Told:
    """Have a task tried again."""
    return core.tell(events.RetryRequested, task_id=task_id, stored=core.stored(task_id), reply="client")


def delete(core: Core, *task_ids: str) -> Told:
    """Have tasks deleted."""
    return core.tell(events.DeleteRequested, stored=[core.stored(task_id) for task_id in task_ids], reply="client")


def fail(core: Core, task_id: str = "t1") -> None:
    """Let a task raise, end, and be gone."""
    core.fail(core.newest(task_id)[0])
    core.exited(task_id)


def test_a_failed_task_is_a_dead_letter(house: Core) -> None:
    house.run("t1")
    fail(house)
    assert house.stored("t1").task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_RETRIES_EXHAUSTED
    assert (house.has(keys.dead("t1")), house.state.dead) == (True, 1)


def test_a_cancelled_or_successful_task_is_none(house: Core) -> None:
    house.complete(house.run("t1"))
    house.run("t2")
    house.cancel("t2")
    house.exited("t2")
    assert house.store.scan(keys.DEAD) == []


def test_a_dead_letter_is_tried_again_with_its_whole_policy(house: Core) -> None:
    house.run("t1", retry=policy_pb2.RetryPolicy(max_attempts=2))
    for _ in range(2):
        fail(house)
        told = house.mature("t1")
        if told.all(effects.Launch):
            house.take(told.one(effects.Launch).credential)
    assert house.states("t1")[-1] == "FAILED"
    launch = retry(house).one(effects.Launch)
    assert launch.attempt == ("t1", 3)
    record = house.stored("t1")
    assert (record.task.dead_letter_cause, record.task.HasField("failure"), record.task.HasField("end_time")) == (
        task_pb2.DEAD_LETTER_CAUSE_UNSPECIFIED,
        False,
        False,
    )
    assert (house.has(keys.dead("t1")), house.has(keys.live("t1")), house.state.dead) == (False, True, 0)
    house.take(launch.credential)
    fail(house)
    assert house.states("t1")[-1] == "QUEUED", "it has two attempts once more"
    house.take(house.mature("t1").one(effects.Launch).credential)
    assert house.complete(("t1", 4)).one(effects.Announce).task.state == task_pb2.TASK_STATE_SUCCEEDED


def test_a_task_can_be_tried_again_before_its_process_is_gone(house: Core) -> None:
    house.run("t1")
    house.fail(("t1", 1))
    house.take(retry(house).one(effects.Launch).credential)
    house.exited("t1", attempt=("t1", 1), max_rss_bytes=5)
    assert house.states("t1")[-1] == "RUNNING"
    assert house.stored("t1").task.attempts[0].receipt.max_rss_bytes == 5
    house.complete(("t1", 2))
    house.exited("t1")
    assert house.state.tasks == {}


def test_its_deadlines_count_from_the_retry(core: Core) -> None:
    spec = task_pb2.TaskSpec()
    spec.schedule_to_close_timeout.FromSeconds(5)
    core.submit("t1", schedule_to_close_timeout=spec.schedule_to_close_timeout)
    core.now_ns += 10_000_000_000
    core.tell(events.CloseOverdue, task_id="t1")
    assert retry(core).one(effects.Remind).after_seconds == 5


def test_it_does_not_start_before_its_time(house: Core) -> None:
    spec = task_pb2.TaskSpec()
    spec.not_before.FromSeconds(61)
    house.submit("t1", not_before=spec.not_before)
    house.cancel("t1")
    told = retry(house)
    assert told.all(effects.Launch) == []
    assert told.one(effects.Remind).alarm == alarms.ready("t1")
    assert house.mature("t1").one(effects.Launch).attempt == ("t1", 1)


def test_a_result_stays_the_only_one(house: Core) -> None:
    house.complete(house.run("t1"))
    house.exited("t1")
    assert isinstance(retry(house).error, TaskHasResult)


def test_what_has_not_ended_is_neither_tried_again_nor_deleted(house: Core) -> None:
    house.run("t1")
    assert isinstance(retry(house).error, TaskNotEnded)
    told = delete(house, "t1")
    assert (told.reply, told.writes) == (0, {})


def test_a_retry_needs_room_and_a_coordinator_that_goes_on(core: Core) -> None:
    core.submit("t1")
    core.cancel("t1")
    core.limit(queue_limit=0)
    assert isinstance(retry(core).error, QueueFull)
    core.state.draining = True
    assert isinstance(retry(core).error, Draining)


def test_nothing_is_left_of_what_is_deleted(house: Core) -> None:
    house.complete(house.run("t1", request_id="r"))
    house.run("t2")
    house.tell(events.CheckpointSaved, attempt=("t2", 1), checkpoint=house_payload(), reply="w")
    fail(house, "t2")
    assert delete(house, "t1").reply == 0, "its process may still be there"
    house.exited("t1")
    assert delete(house, "t1", "t2").reply == 2
    left = {entry.key for entry in house.store.scan(b"", limit=10_000)}
    assert left == {keys.footprint("b")}, "what was learned stays"
    assert (house.state.kept, house.state.dead) == (0, 0)
    assert house.submit("t3", request_id="r", digest=b"other").reply == "t3"


def house_payload() -> "object":
    from hundredfold.v1 import payload_pb2

    return payload_pb2.Payload(data=b"1")


# Suspects -------------------------------------------------------------------------------------------------------------


def lose_all(core: Core, number: int) -> None:
    """Let the host die, everything it ran be buried, and the next one come."""
    core.tell(events.HostLost, host=f"host-{number}")
    for attempt in list(core.state.alive):
        core.bury(attempt)
    core.attach(f"host-{number + 1}")
    for task_id in list(core.state.tasks):
        core.mature(task_id)
    for attempt in list(core.state.alive):
        core.launched(attempt[0])


def test_the_task_that_kills_hosts_is_found_and_nobody_pays_for_it(house: Core) -> None:
    house.limit(concurrency=16)
    names = [f"t{number:02}" for number in range(16)]
    for task_id in names:
        house.submit(task_id)
        house.launched(task_id)
    number = 1
    while "t07" in house.state.tasks:
        # The host dies whenever the poison is there; what runs without it comes to its end.
        if any(key[0] == "t07" for key in house.state.alive):
            lose_all(house, number)
            number += 1
            continue
        key = min(house.state.alive)
        house.take(next(c for c in house.minted if house.state.credentials.get(hashed(c)) == key[0]))
        house.complete(key)
        house.exited(key[0])
        for task_id in list(house.state.tasks):
            house.mature(task_id)
    assert house.stored("t07").task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_QUARANTINED
    assert len(house.stored("t07").task.attempts) == QUARANTINE_DEATHS
    others = [house.stored(name).task for name in names if name != "t07"]
    assert {task.dead_letter_cause for task in others} == {task_pb2.DEAD_LETTER_CAUSE_UNSPECIFIED}
    lost = attempt_pb2.ATTEMPT_OUTCOME_HOST_LOST
    assert max(sum(one.outcome == lost for one in task.attempts) for task in others) < QUARANTINE_DEATHS - 2


@pytest.mark.parametrize("concurrency", [1, 2, 100, 511, 1000, 100_000])
def test_an_innocent_suspect_is_alone_before_it_is_put_into_quarantine(concurrency: int) -> None:
    assert scheduler.most_suspects(concurrency, QUARANTINE_DEATHS - 1) == 1


def hashed(secret: str) -> bytes:
    from hashlib import sha256

    return sha256(secret.encode()).digest()


def test_a_suspect_that_has_to_wait_says_so(house: Core) -> None:
    house.limit(concurrency=2)
    for task_id in ("t1", "t2"):
        house.submit(task_id)
        house.launched(task_id)
    for number in (1, 2):
        lose_all(house, number)
    assert len(house.state.alive) == 1
    waiting = next(r for r in house.state.tasks.values() if r.task.state == task_pb2.TASK_STATE_QUEUED)
    gate = scheduler.gate(house.state, waiting)
    assert (gate.kind, gate.detail) == (task_pb2.GATE_KIND_SUSPECT, "it was there 2 times when its host was lost")


def test_a_suspect_that_is_handed_over_counts_as_one_that_is_launched(house: Core) -> None:
    house.limit(concurrency=3, pool_size=3)
    for task_id in ("t1", "t2", "t3"):
        house.submit(task_id, strategy=POOL)
        house.launched(task_id)
    for number in (1, 2):
        lose_all(house, number)
    house.take(house.minted[-1])
    told = deliver(house, "t1")
    assert given(told) == "t2"
    assert told.all(effects.Launch) == []
    assert house.state.suspects == {("t2", 3)}
    assert given(deliver(house, "t2")) == "t3"


def test_the_next_coordinator_knows_the_suspects(house: Core) -> None:
    for task_id in ("t1", "t2"):
        house.submit(task_id)
        house.launched(task_id)
    for number in (1, 2):
        lose_all(house, number)
    suspects = set(house.state.suspects)
    assert suspects
    house.restart()
    assert house.state.suspects == suspects


@pytest.mark.parametrize("known", [True, False])
def test_a_lost_attempt_counts_as_alive_until_it_is_buried(house: Core, known: bool) -> None:  # noqa: FBT001  # parametrized
    house.submit("t1")
    if known:
        house.launched("t1")
    told = house.tell(events.HostLost, host="host-1")
    assert len(told.all(effects.Bury)) == known
    assert bool(house.state.alive) == known
    house.restart()
    assert bool(house.state.alive) == known
    if known:
        house.bury(("t1", 1))
        assert house.stored("t1").task.attempts[0].receipt.kill_cause == attempt_pb2.KILL_CAUSE_HOST_ENDED
    assert house.state.alive == {}
