"""Shows what a worker makes of what the coordinator refuses."""

from typing import Any

import pytest
from hundredfold.errors import HundredfoldError, InvalidArgument, SessionConflict, StaleAttempt, Unauthenticated
from hundredfold.status import to_status
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold_worker.channel import Channel, Overtaken, Refused
from hundredfold_worker.transport import Reply

_ANY = 13


class Refusing:
    """A transport to a coordinator that refuses everything."""

    def __init__(self, error: HundredfoldError) -> None:
        self._error = error

    def call(self, *_: Any) -> Reply:
        return Reply(_ANY, details=to_status(self._error).SerializeToString())


def refusal(error: HundredfoldError) -> Exception:
    """Return what a worker that delivers makes of an error."""
    channel = Channel("", "credential")
    channel._transport = Refusing(error)  # type: ignore[assignment]  # the wire is another test's
    with pytest.raises(Exception) as raised:  # noqa: PT011  # which one is what is asked
        channel.complete(pb.CompleteAttemptRequest())
    return raised.value


@pytest.mark.parametrize("error", [StaleAttempt("t1", 1), Unauthenticated()])
def test_who_has_no_say_any_more_is_refused(error: HundredfoldError) -> None:
    assert type(refusal(error)) is Refused


def test_a_conflict_is_told_from_that() -> None:
    assert type(refusal(SessionConflict("s", 2, 1))) is Overtaken


def test_what_was_wrong_with_a_delivery_is_said() -> None:
    error = refusal(InvalidArgument("memory_writes", "is none"))
    assert (type(error), str(error)) == (InvalidArgument, str(InvalidArgument("memory_writes", "is none")))
