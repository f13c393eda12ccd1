"""The events a behaviour has emitted and the coordinator has not been told yet.

The first event starts a thread that sends them in batches, no more often than the coordinator asks for. What is left
when the behaviour ends travels with its result.
"""

import threading
from collections.abc import Callable
from typing import Final

from hundredfold.errors import EventQuotaExceeded
from hundredfold.v1 import payload_pb2, task_pb2
from hundredfold.v1 import worker_service_pb2 as pb

from hundredfold_worker.channel import Refused

_FIRST_INTERVAL_SECONDS: Final = 0.05
_BATCH: Final = 500


class Outbox:
    """Events in the order they were emitted; `send` delivers a batch and may block."""

    def __init__(self, send: Callable[[pb.EmitEventsRequest], pb.EmitEventsResponse]) -> None:
        self._send = send
        self._events: list[task_pb2.Emitted] = []
        self._sequence = 0
        self._interval = _FIRST_INTERVAL_SECONDS
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, data: bytes) -> None:
        """Take an event, a JSON text; returns at once."""
        with self._lock:
            self._sequence += 1
            payload = payload_pb2.Payload(content_type="application/json", data=data)
            self._events.append(task_pb2.Emitted(worker_sequence=self._sequence, payload=payload))
            if self._thread is None:
                self._thread = threading.Thread(target=self._flush_until_closed, name="outbox", daemon=True)
                self._thread.start()

    def close(self) -> list[task_pb2.Emitted]:
        """Stop sending; return what has not been sent."""
        self._closed.set()
        if self._thread:
            self._thread.join()
        return self._events

    def _flush_until_closed(self) -> None:
        while not self._closed.wait(self._interval):
            try:
                self._flush()
            except (Refused, EventQuotaExceeded):
                # Over its quota, or not wanted any more; the behaviour learns of the latter when it completes.
                self._closed.wait()

    def _flush(self) -> None:
        batch = self._events[:_BATCH]
        if not batch:
            return
        response = self._send(pb.EmitEventsRequest(events=batch))
        self._interval = max(response.min_interval.ToTimedelta().total_seconds(), _FIRST_INTERVAL_SECONDS)
        with self._lock:
            del self._events[: len(batch)]
