"""Says to the coordinator what no worker of it would say: the wrong thing, too late, too large, for others, or garbage.

W13-W15 of the fault list. A stand-in speaks for each worker; see `stand_in.py`.
"""

import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from google.protobuf.descriptor import Descriptor
from hundredfold import Retry
from hundredfold.client import result_of
from hundredfold.errors import InvalidArgument, PayloadTooLarge, StaleAttempt, Unauthenticated
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import attempt_pb2, memory_pb2, payload_pb2, session_pb2, task_pb2
from hundredfold.v1 import worker_service_pb2 as pb
from stand_in import METHODS, READS, Stage, StandIn, fields, stage
from world import build

Start = Callable[..., CoordinatorProcess]
LIMIT = 1000
AGAIN = Retry(max_attempts=5, initial_seconds=0)


def payload(text: str = "1") -> payload_pb2.Payload:
    return payload_pb2.Payload(content_type="application/json", data=text.encode())


LARGE = payload("1" * (LIMIT + 1))


def events(*payloads: payload_pb2.Payload) -> list[task_pb2.Emitted]:
    return [task_pb2.Emitted(worker_sequence=number, payload=one) for number, one in enumerate(payloads, 1)]


def completion(text: str = "1", **more: object) -> bytes:
    return pb.CompleteAttemptRequest(result=payload(text), **more).SerializeToString()  # type: ignore[arg-type]


def failure() -> bytes:
    raised = attempt_pb2.Failure(outcome=attempt_pb2.ATTEMPT_OUTCOME_RAISED, type="E", message="m")
    return pb.FailAttemptRequest(failure=raised).SerializeToString()


LATE = {
    "EmitEvents": pb.EmitEventsRequest(events=events(payload())).SerializeToString(),
    "SaveCheckpoint": pb.SaveCheckpointRequest(checkpoint=payload()).SerializeToString(),
    "CompleteAttempt": completion("2"),
    "FailAttempt": failure(),
}


# W13: a second delivery, or a late one ------------------------------------------------------------------------------


def test_a_second_delivery_changes_nothing(start: Start) -> None:
    """Seen red without the digest in `_answer_repetition`, and without the state in `_current`."""
    with stage(start) as here:
        task_id = here.submit()
        stand_in = here.stand_in(task_id).take()
        stand_in.say("CompleteAttempt", completion("1"))
        before = here.record(task_id)
        assert stand_in.say("CompleteAttempt", completion("1")) == b"", "the same once more is no error"
        for method, late in LATE.items():
            with pytest.raises(StaleAttempt):
                stand_in.say(method, late)
        assert here.record(task_id) == before
        assert result_of(here.client.get(task_id)) == 1


def test_a_second_failure_changes_nothing(start: Start) -> None:
    with stage(start) as here:
        task_id = here.submit()
        stand_in = here.stand_in(task_id).take()
        stand_in.say("FailAttempt", failure())
        before = here.record(task_id)
        stand_in.say("FailAttempt", failure())
        with pytest.raises(StaleAttempt):
            stand_in.say("CompleteAttempt", completion())
        assert here.record(task_id) == before


@contextmanager
def deaf_host(here: Stage) -> Iterator[None]:
    """Stop the host, so that nobody's end is heard of."""
    (host,) = here.client.hosts()
    os.kill(host.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(host.pid, signal.SIGCONT)


def test_a_reply_after_a_cancellation_changes_nothing(start: Start) -> None:
    """While its process may live it is told that it is late; when that is gone, nobody knows its token."""
    fast = build("--patch", "core.timing:CONFIRM_SECONDS=0.3")
    with stage(start, "--grace-seconds", "0.2", program=fast) as here:
        task_id = here.submit(retry=AGAIN)
        stand_in = here.stand_in(task_id).take()
        with deaf_host(here):
            here.client.cancel(task_id)
            assert here.client.wait(task_id, timeout_seconds=20).state == task_pb2.TASK_STATE_CANCELLED
            before = here.record(task_id)
            for method, late in LATE.items():
                with pytest.raises(StaleAttempt):
                    stand_in.say(method, late)
        eventually(lambda: here.client.get(task_id).attempts[0].HasField("receipt"), what="its end")
        for method, late in LATE.items():
            with pytest.raises(Unauthenticated):
                stand_in.say(method, late)
        assert here.record(task_id) == before


def test_a_result_counts_that_comes_before_the_cancelled_process_is_gone(start: Start) -> None:
    with stage(start) as here:
        task_id = here.submit()
        stand_in = here.stand_in(task_id).take()
        with deaf_host(here):
            here.client.cancel(task_id)
            stand_in.say("CompleteAttempt", completion())
        assert here.client.wait(task_id, timeout_seconds=20).state == task_pb2.TASK_STATE_SUCCEEDED


# W14: too large -----------------------------------------------------------------------------------------------------

TOO_LARGE = {
    "result.data": pb.CompleteAttemptRequest(result=LARGE, events=events(payload())),
    "session_writes": pb.CompleteAttemptRequest(
        result=payload(), session_writes=session_pb2.SessionWrites(set={"k": LARGE.data}), events=events(payload())
    ),
    "events[1].payload.data": pb.CompleteAttemptRequest(result=payload(), events=events(payload(), LARGE)),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_delivery_that_is_too_large_is_a_violation(start: Start, name: str) -> None:
    """Another attempt would deliver the same, so there is none; what was small enough is recorded."""
    with stage(start, "--max-payload-bytes", str(LIMIT)) as here:
        task_id = here.submit(retry=AGAIN, session="s")
        stand_in = here.stand_in(task_id).take()
        with pytest.raises(PayloadTooLarge) as caught:
            stand_in.say("CompleteAttempt", TOO_LARGE[name].SerializeToString())
        assert (caught.value.field, caught.value.limit) == (name, LIMIT)
        task = here.client.wait(task_id, timeout_seconds=20)
        assert (task.state, len(task.attempts)) == (task_pb2.TASK_STATE_FAILED, 1)
        assert task.failure.outcome == attempt_pb2.ATTEMPT_OUTCOME_PROTOCOL_VIOLATION
        assert task.dead_letter_cause == task_pb2.DEAD_LETTER_CAUSE_NON_RETRYABLE
        assert str(LIMIT) in task.failure.message
        said = [event.emitted.payload.data for event in here.client.watch(task_id) if event.HasField("emitted")]
        assert said == [b"1"]
        session = fields(here.stand_in(here.submit(session="s")).take().answered("session"))
        assert set(session) == {1}, "nothing was written to it"


def test_what_is_too_large_on_the_way_is_refused_and_no_more(start: Start) -> None:
    """The worker can go on without that event or checkpoint, as the protocol says."""
    with stage(start, "--max-payload-bytes", str(LIMIT)) as here:
        task_id = here.submit()
        stand_in = here.stand_in(task_id).take()
        for method, request, field in (
            ("EmitEvents", pb.EmitEventsRequest(events=events(payload(), LARGE)), "events[1].payload.data"),
            ("SaveCheckpoint", pb.SaveCheckpointRequest(checkpoint=LARGE), "checkpoint.data"),
        ):
            with pytest.raises(PayloadTooLarge) as caught:
                stand_in.say(method, request.SerializeToString())
            assert (caught.value.field, caught.value.limit) == (field, LIMIT)
        stand_in.say("CompleteAttempt", completion())
        assert here.client.wait(task_id, timeout_seconds=20).state == task_pb2.TASK_STATE_SUCCEEDED
        assert not [event for event in here.client.watch(task_id) if event.HasField("emitted")], "all or nothing"


# W15: garbage, and what belongs to others ---------------------------------------------------------------------------


def test_garbage_is_refused(start: Start) -> None:
    """Seen red with messages parsed by gRPC itself, which answers UNKNOWN."""
    with stage(start) as here:
        task_id = here.submit()
        stand_in = here.stand_in(task_id).take()
        noise = random.Random(1)
        for method in METHODS:
            for garbage in (b"\xff" * 3, b"\x0a\xff\xff\xff\xff\x0f", b"\x0f" + noise.randbytes(1000)):
                with pytest.raises(InvalidArgument) as caught:
                    stand_in.say(method, garbage)
                assert caught.value.field == "request"
        for _ in range(20):
            shout(here, noise.randbytes(2000))
        stand_in.say("CompleteAttempt", completion())
        assert here.client.wait(task_id, timeout_seconds=20).state == task_pb2.TASK_STATE_SUCCEEDED


def shout(here: Stage, data: bytes) -> None:
    """Send what is not even HTTP/2."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(20)
        wire.connect(str(here.data_dir / "worker.sock"))
        with suppress(OSError):  # it may hang up before all of it is sent
            wire.sendall(data)
            wire.shutdown(socket.SHUT_WR)
            while wire.recv(4096):
                pass


def test_a_secret_opens_what_it_was_made_for_and_nothing_else(start: Start) -> None:
    with stage(start) as here:
        ours, theirs = here.submit(), here.submit()
        stand_in, other = here.stand_in(ours).take(), here.stand_in(theirs)
        for method, data in (*LATE.items(), *((method, b"") for method in READS)):
            for secret in ("", "unknown", "0" * 64, stand_in.credential, other.credential):
                with pytest.raises(Unauthenticated):
                    stand_in.say(method, data, secret)
        for secret in ("", "unknown", stand_in.token):
            with pytest.raises(Unauthenticated):
                stand_in.say("NextAttempt", b"\x08\x01", secret)
        stand_in.say("CompleteAttempt", completion())
        assert here.client.wait(ours, timeout_seconds=20).state == task_pb2.TASK_STATE_SUCCEEDED
        assert here.client.get(theirs).state == task_pb2.TASK_STATE_LAUNCHING, "untouched"
        assert other.take().token != stand_in.token


def test_what_is_written_to_a_session_has_to_be_json(start: Start) -> None:
    """Or every later attempt of the session would fail of it: seen red without `check_writes`."""
    with stage(start) as here:
        task_id = here.submit(session="s", retry=Retry(max_attempts=1))
        item = session_pb2.SessionItem(role="agent", content=b"{no json")
        with pytest.raises(InvalidArgument) as caught:
            here.stand_in(task_id).take().say(
                "CompleteAttempt", completion(session_writes=session_pb2.SessionWrites(append=[item]))
            )
        assert caught.value.field == "session_writes.append[0].content"
        task = here.client.wait(task_id, timeout_seconds=20)
        assert task.failure.outcome == attempt_pb2.ATTEMPT_OUTCOME_PROTOCOL_VIOLATION


def test_no_worker_can_name_a_task() -> None:
    """A token of one task cannot be used for another: no request says which task it is about, only the token does."""
    service = pb.DESCRIPTOR.services_by_name["WorkerService"]
    assert sorted(method.name for method in service.methods) == sorted(METHODS)
    named = {name for method in service.methods for name in names(method.input_type)}
    # What is remembered says who wrote it; the tests below show that this is not taken from a worker.
    assert {name for name in named if "task" in name or name.endswith("attempt")} == {
        "append.task_id",
        "append.attempt",
        "upsert.task_id",
        "upsert.attempt",
    }
    assert not {name for name in named if "session_id" in name or "tenant" in name}, "nor another session or tenant"


def names(message: Descriptor) -> Iterator[str]:
    """Yield the fields of a request and of the messages in it, each with the name of what it is in."""
    for field in message.fields:
        yield field.name
        if field.message_type:
            yield from (f"{field.name}.{name}" for name in names(field.message_type) if "." not in name)
            yield from (name for name in names(field.message_type) if "." in name)


def test_who_wrote_to_a_session_is_not_for_a_worker_to_say(start: Start) -> None:
    with stage(start) as here:
        task_id = here.submit(session="s")
        stand_in = here.stand_in(task_id).take()
        item = session_pb2.SessionItem(role="agent", content=b"1", task_id="0" * 26, attempt=7)
        stand_in.say("CompleteAttempt", completion(session_writes=session_pb2.SessionWrites(append=[item])))
        reader: StandIn = here.stand_in(here.submit(session="s")).take()
        session = session_pb2.Session.FromString(reader.answered("session"))
        assert [(one.task_id, one.attempt) for one in session.items] == [(task_id, 1)]


def test_nor_is_it_for_a_worker_to_say_who_remembered_something(start: Start) -> None:
    with stage(start) as here:
        here.client.memory.create("c", 1)
        task_id = here.submit()
        record = memory_pb2.MemoryRecord(id="a", vector=[1.0], task_id="0" * 26, attempt=7)
        writes = memory_pb2.MemoryWrites(collection="c", upsert=[record])
        here.stand_in(task_id).take().say("CompleteAttempt", completion(memory_writes=[writes]))
        query = pb.FindMemoryRequest(query=memory_pb2.MemoryQuery(collection="c", vector=[1.0]))
        found = here.stand_in(here.submit()).take().say("FindMemory", query.SerializeToString())
        (match,) = pb.FindMemoryResponse.FromString(found).matches
        assert (match.record.task_id, match.record.attempt) == (task_id, 1)
