"""Shows that events are sent in order, in batches and in the background, and that what is left is handed over."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hundredfold.errors import EventQuotaExceeded, InternalError
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold_worker import outbox
from hundredfold_worker.channel import Refused
from hundredfold_worker.outbox import Outbox

WAIT_SECONDS = 10
MESSAGE_LIMIT = 64 << 20
QUOTA = 10_000


class Far:
    """The far end: notes what comes, answers when it may, or fails."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.sizes: list[int] = []
        self.threads: set[str] = set()
        self.came = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.error: Exception | None = None
        self.interval = timedelta()

    def __call__(self, request: pb.EmitEventsRequest) -> pb.EmitEventsResponse:
        self.batches.append([event.worker_sequence for event in request.events])
        self.sizes.append(request.ByteSize())
        self.threads.add(threading.current_thread().name)
        self.came.set()
        assert self.may_answer.wait(WAIT_SECONDS)
        if self.error:
            raise self.error
        response = pb.EmitEventsResponse()
        response.min_interval.FromTimedelta(self.interval)
        return response

    def wait(self) -> None:
        assert self.came.wait(WAIT_SECONDS)
        self.came.clear()

    @property
    def numbers(self) -> list[int]:
        """Every event in the order it was sent."""
        return [number for batch in self.batches for number in batch]


@pytest.fixture
def far() -> Far:
    return Far()


@pytest.fixture
def box(far: Far, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outbox]:
    """An outbox that sends at once."""
    monkeypatch.setattr(outbox, "_FIRST_INTERVAL_SECONDS", 0.001)
    box = Outbox(far, QUOTA)
    yield box
    far.may_answer.set()
    box.close()


def left(box: Outbox) -> list[int]:
    return [event.worker_sequence for event in box.close()]


def test_without_events_there_is_no_thread(box: Outbox, far: Far) -> None:
    before = threading.active_count()
    assert left(box) == []
    assert (far.batches, threading.active_count()) == ([], before)


def test_an_event_is_sent_in_the_background(box: Outbox, far: Far) -> None:
    box.add(b'{"n": 1}')
    far.wait()
    assert left(box) == []
    assert (far.batches, far.threads) == ([[1]], {"outbox"})


def test_adding_does_not_wait_for_sending(box: Outbox, far: Far) -> None:
    far.may_answer.clear()
    box.add(b"1")
    far.wait()
    for _ in range(5):
        box.add(b"1")
    far.may_answer.set()
    far.wait()
    assert far.batches == [[1], [2, 3, 4, 5, 6]]


def test_an_event_travels_as_json(far: Far) -> None:
    box = Outbox(far, QUOTA)
    box.add(b'"text"')
    (event,) = box.close()
    assert (event.worker_sequence, event.payload.data) == (1, b'"text"')
    assert event.payload.content_type == "application/json"


def test_every_event_is_sent_or_handed_over_once_and_in_order(box: Outbox, far: Far) -> None:
    for _ in range(2000):
        box.add(b"1")
    handed = left(box)
    assert far.numbers + handed == list(range(1, 2001))
    assert all(len(batch) <= 500 for batch in far.batches)


def test_what_is_left_is_handed_over(far: Far) -> None:
    box = Outbox(far, QUOTA)  # its first interval is longer than this test
    for _ in range(3):
        box.add(b"1")
    assert left(box) == [1, 2, 3]
    assert far.batches == []


def test_the_thread_ends_with_the_outbox(box: Outbox, far: Far) -> None:
    box.add(b"1")
    far.wait()
    thread = box._thread
    assert thread
    box.close()
    assert not thread.is_alive()


def test_closing_waits_for_what_is_under_way(box: Outbox, far: Far) -> None:
    far.may_answer.clear()
    box.add(b"1")
    far.wait()
    closing = threading.Thread(target=box.close)
    closing.start()
    assert closing.is_alive()
    far.may_answer.set()
    closing.join(WAIT_SECONDS)
    assert left(box) == [], "what was answered is not sent again"


def test_the_coordinator_says_how_often(box: Outbox, far: Far) -> None:
    far.interval = timedelta(hours=1)
    box.add(b"1")
    far.wait()
    box.add(b"1")
    assert left(box) == [2], "it would have been sent in an hour"


@pytest.mark.parametrize("error", [EventQuotaExceeded(1), Refused("stale")], ids=["quota", "refused"])
def test_after_a_refusal_nothing_more_is_sent(box: Outbox, far: Far, error: Exception) -> None:
    far.error = error
    box.add(b"1")
    far.wait()
    box.add(b"1")
    assert left(box) == [1, 2], "those that were recorded are recognised by their numbers"
    assert far.batches == [[1]]


def test_after_another_error_events_still_travel_with_the_result(
    box: Outbox, far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(threading, "excepthook", complaints.append)
    far.error = InternalError("no")
    box.add(b"1")
    far.wait()
    assert left(box) == [1]
    assert complaints == []


def test_a_batch_fits_into_one_message(box: Outbox, far: Far) -> None:
    far.may_answer.clear()
    box.add(b"1")
    far.wait()
    for _ in range(20):
        box.add(b"1" * (4 << 20))
    far.may_answer.set()
    far.wait()
    assert far.sizes[1] < MESSAGE_LIMIT


def test_what_is_handed_over_fits_into_one_message(far: Far) -> None:
    box = Outbox(far, QUOTA)
    for _ in range(2000):
        box.add(b"1" * (64 << 10))
    assert sum(event.ByteSize() for event in box.close()) < MESSAGE_LIMIT


def test_events_over_the_quota_are_dropped_and_that_is_said_once(far: Far, capsys: pytest.CaptureFixture[str]) -> None:
    box = Outbox(far, 2)
    for _ in range(5):
        box.add(b"1")
    assert left(box) == [1, 2]
    assert capsys.readouterr().err.count("2 events, which is its quota") == 1
