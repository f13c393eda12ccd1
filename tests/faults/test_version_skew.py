"""Lets workers of other versions speak to this coordinator: what was recorded of them is said again, byte by byte.

C14 of the fault list. `recorded/worker_v1.json` is what a worker of protocol version 1 says; see `record_worker.py`.
"""

import json
from collections.abc import Callable, Sequence

import pytest
from hundredfold import Retry
from hundredfold.client import result_of
from hundredfold.errors import InvalidArgument
from hundredfold.testing.coordinator import CoordinatorProcess
from hundredfold.v1 import attempt_pb2, task_pb2
from stand_in import RECORDED, StandIn, fields, stage

Start = Callable[..., CoordinatorProcess]
NEWER = bytes.fromhex("c23e036e6577")
"""Field 1000 with the text `new`, which no message of this version has."""


def play(stand_in: StandIn, name: str, extra: bytes = b"") -> Sequence[bytes]:
    """Say all that was recorded of an attempt, each with something more; return the answers."""
    calls = RECORDED["attempts"][name]
    return [stand_in.say(call["method"], bytes.fromhex(call["bytes"]) + extra) for call in calls]


@pytest.mark.parametrize("extra", [b"", NEWER], ids=["older", "newer"])
def test_a_worker_of_another_version_works_to_the_end(start: Start, extra: bytes) -> None:
    """Seen red with another number for `NextAttemptResponse.token`, and for `CompleteAttemptRequest.session_writes`."""
    with stage(start) as here:
        task_id = here.submit(session="s")
        stand_in = here.stand_in(task_id)
        _, emitted, *_ = play(stand_in, "complete", extra)
        assert (stand_in.answered("task_id"), stand_in.answered("attempt")) == (task_id.encode(), 1)
        assert stand_in.answered("behaviour") == b"anything"
        assert json.loads(fields(stand_in.answered("input"))[2][0]) == {"text": "hello"}
        assert (stand_in.answered("max_payload_bytes"), stand_in.answered("event_quota")) == (4 << 20, 10_000)
        assert stand_in.answered("remaining_time")
        assert RECORDED["answers"]["EmitEvents"]["min_interval"] in fields(emitted)
        task = here.client.wait(task_id, timeout_seconds=20)
        assert result_of(task) == {"answer": "hello"}
        said = [
            json.loads(event.emitted.payload.data) for event in here.client.watch(task_id) if event.emitted.payload.data
        ]
        assert said == [{"said": "hello"}, {"said": "bye"}]
        next_one = here.stand_in(here.submit(session="s")).take()
        session = fields(next_one.answered("session"))
        assert (session[1], session[2]) == ([b"s"], [1]), "id and version"
        assert [fields(item)[2] for item in session[3]] == [[b'"hello"']], "what was appended"
        assert [fields(entry) for entry in session[4]] == [{1: [b"last"], 2: [b'"hello"']}], "what was set"


@pytest.mark.parametrize("extra", [b"", NEWER], ids=["older", "newer"])
def test_what_it_says_of_failures_is_understood(start: Start, extra: bytes) -> None:
    with stage(start) as here:
        task_id = here.submit(retry=Retry(max_attempts=3, initial_seconds=0))
        first = here.stand_in(task_id)
        play(first, "fail", extra)
        assert first.answered("checkpoint") is None
        second = here.stand_in(task_id, 2)
        play(second, "give_up", extra)
        assert (second.answered("attempt"), json.loads(fields(second.answered("checkpoint"))[2][0])) == (2, {"step": 1})
        task = here.client.wait(task_id, timeout_seconds=20)
        assert (task.state, len(task.attempts)) == (task_pb2.TASK_STATE_FAILED, 2), "no third attempt is wanted"
        assert [one.failure.type for one in task.attempts] == ["ValueError", "NonRetryable"]
        assert {one.outcome for one in task.attempts} == {attempt_pb2.ATTEMPT_OUTCOME_RAISED}
        assert task.attempts[0].failure.traceback == "ValueError: hello\n"


def test_a_version_that_is_not_spoken_is_refused(start: Start) -> None:
    """Nothing comes of it: who speaks the right one can still take the attempt."""
    with stage(start) as here:
        task_id = here.submit()
        stand_in = here.stand_in(task_id)
        for version, data in ((0, b""), (0, NEWER), (2, b"\x08\x02"), (-1, b"\x08" + b"\xff" * 9 + b"\x01")):
            with pytest.raises(InvalidArgument) as caught:
                stand_in.say("NextAttempt", data)
            assert caught.value.field == "protocol_version"
            assert caught.value.problem == f"is {version}; this coordinator speaks 1"
        assert here.client.get(task_id).state == task_pb2.TASK_STATE_LAUNCHING
        play(stand_in, "give_up")
        assert here.client.wait(task_id, timeout_seconds=20).failure.type == "NonRetryable"


def test_the_recording_is_of_the_version_that_is_spoken() -> None:
    assert RECORDED["protocol_version"] == 1
