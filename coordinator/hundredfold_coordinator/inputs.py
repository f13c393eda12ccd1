"""Inputs of tasks that have just been submitted: most begin at once, and need not be read from the store for that."""

from collections import OrderedDict
from typing import Final

from hundredfold.v1 import payload_pb2

_LIMIT_BYTES: Final = 16 << 20


class RecentInputs:
    """The newest inputs, up to 16 MiB together; each is given out once. What is missing here is in the store."""

    def __init__(self) -> None:
        self._inputs: OrderedDict[str, payload_pb2.Payload] = OrderedDict()
        self._size = 0

    def keep(self, task_id: str, payload: payload_pb2.Payload) -> None:
        """Keep the input of a task that is durable; forget the oldest ones if need be."""
        self.take(task_id)
        self._inputs[task_id] = payload
        self._size += len(payload.data)
        while self._size > _LIMIT_BYTES:
            _, oldest = self._inputs.popitem(last=False)
            self._size -= len(oldest.data)

    def take(self, task_id: str) -> payload_pb2.Payload | None:
        """Return the input of a task and forget it; None if it is not here."""
        payload = self._inputs.pop(task_id, None)
        if payload:
            self._size -= len(payload.data)
        return payload
