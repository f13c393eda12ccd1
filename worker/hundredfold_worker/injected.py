"""What is done to an attempt on purpose, at the boundary of its behaviour: faults, and a canary in its process."""

import os
import signal
import time
from collections.abc import Callable
from typing import Final

from hundredfold.v1 import task_pb2
from hundredfold.v1 import worker_service_pb2 as pb

_CANARY: Final = "HUNDREDFOLD_CANARY"
_SECONDS: Final = 2.0
_LEAK_BYTES: Final = 64 << 20
_leaked: Final[list[bytearray]] = []


class Injected:
    """What the injection of an assignment asks for; `emit` is the behaviour's own."""

    def __init__(self, assignment: pb.NextAttemptResponse, emit: Callable[[object], None]) -> None:
        self._task_id = assignment.task_id
        self._wanted = assignment.injection
        self._emit = emit

    def before(self) -> None:
        """Do what is to be done before the behaviour begins.

        Raises:
            TimeoutError: as a call of the behaviour would.

        """
        fault = self._wanted.fault
        if self._wanted.canary:
            self._look_for_canary()
        if fault == task_pb2.FAULT_HANG:
            while True:
                signal.pause()
        if fault in (task_pb2.FAULT_TIMEOUT, task_pb2.FAULT_SLOW):
            time.sleep(self._wanted.time.ToNanoseconds() / 1e9 or _SECONDS)
        if fault == task_pb2.FAULT_TIMEOUT:
            message = "injected: what the behaviour calls did not answer"
            raise TimeoutError(message)
        if fault == task_pb2.FAULT_LEAK:
            _leaked.append(bytearray(b"x" * _LEAK_BYTES))  # touched, or it would take no memory

    def after(self) -> None:
        """Do what is to be done when the behaviour has returned."""
        if self._wanted.fault == task_pb2.FAULT_CRASH:
            os.kill(os.getpid(), signal.SIGKILL)

    def _look_for_canary(self) -> None:
        found = os.environ.get(_CANARY)
        if found and found != self._task_id:
            self._emit({"canary": found})
        os.environ[_CANARY] = self._task_id
