"""The events a behaviour has emitted and the coordinator has not been told yet.

The first event starts a thread that sends them in batches, no more often than the coordinator asks for. The last batch
travels with the result.
"""

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Final

from hundredfold.errors import EventQuotaExceeded, HundredfoldError
from hundredfold.v1 import payload_pb2, task_pb2
from hundredfold.v1 import worker_service_pb2 as pb

from hundredfold_worker.channel import Refused

_FIRST_INTERVAL_SECONDS: Final = 0.05
_BATCH_EVENTS: Final = 500
_BATCH_BYTES: Final = 1 << 20


class Outbox:
    """Events in the order they were emitted, up to `quota`; `send` delivers a batch and may block."""

    def __init__(self, send: Callable[[pb.EmitEventsRequest], pb.EmitEventsResponse], quota: int) -> None:
        self._send = send
        self._quota = quota
        self._events: list[task_pb2.Emitted] = []
        self._sequence = 0
        self._interval = _FIRST_INTERVAL_SECONDS
        self._lock = threading.Lock()
        self._wanted = True
        # Made with the first event: most attempts emit none, and every object costs a worker that starts.
        self._closed: threading.Event
        self._thread: threading.Thread | None = None

    def add(self, data: bytes) -> None:
        """Take an event, a JSON text; returns at once."""
        with self._lock:
            self._sequence += 1
            if self._sequence > self._quota:
                if self._sequence == self._quota + 1:
                    _say(EventQuotaExceeded(self._quota))
                return
            payload = payload_pb2.Payload(content_type="application/json", data=data)
            self._events.append(task_pb2.Emitted(worker_sequence=self._sequence, payload=payload))
            if self._thread is None:
                self._closed = threading.Event()
                self._thread = threading.Thread(target=self._send_until_closed, name="outbox", daemon=True)
                self._thread.start()

    def close(self) -> list[task_pb2.Emitted]:
        """Stop the thread, and send all but the last batch, which is returned."""
        if self._thread:
            self._closed.set()
            self._thread.join()
        while self._wanted and len(self._batch()) < len(self._events):
            self._send_batch()
        return self._batch()

    def _send_until_closed(self) -> None:
        while self._wanted and not self._closed.wait(self._interval):
            self._send_batch()

    def _send_batch(self) -> None:
        batch = self._batch()
        if not batch:
            return
        try:
            response = self._send(pb.EmitEventsRequest(events=batch))
        except (Refused, HundredfoldError) as error:
            self._wanted = False
            if not isinstance(error, Refused):
                _say(error)
            return
        self._interval = max(response.min_interval.ToTimedelta().total_seconds(), _FIRST_INTERVAL_SECONDS)
        with self._lock:
            del self._events[: len(batch)]

    def _batch(self) -> list[task_pb2.Emitted]:
        """Return the first events, as many as fit into one message; at least one, if there is one."""
        with self._lock:
            size = 0
            for number, event in enumerate(self._events[:_BATCH_EVENTS]):
                size += event.ByteSize()
                if size > _BATCH_BYTES and number:
                    return self._events[:number]
            return self._events[:_BATCH_EVENTS]


def _say(error: HundredfoldError) -> None:
    """Tell whoever reads the attempt's output; the behaviour goes on, its result is worth more."""
    with contextlib.suppress(Exception):  # the behaviour may have closed it, or taken it away
        sys.stderr.write(f"hundredfold: events are not recorded any more: {error}\n")
