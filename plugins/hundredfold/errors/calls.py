"""What any call can answer."""

from dataclasses import dataclass

from hundredfold.errors.base import HundredfoldError


@dataclass(eq=False)
class InternalError(HundredfoldError):
    """The coordinator failed unexpectedly: {problem}. Its log has the details; please report it."""

    problem: str
    reason = "INTERNAL"


@dataclass(eq=False)
class InvalidArgument(HundredfoldError):
    """`{field}` {problem}."""

    field: str
    problem: str
    code = "INVALID_ARGUMENT"
    reason = "INVALID_ARGUMENT"


@dataclass(eq=False)
class PayloadTooLarge(HundredfoldError):
    """`{field}` has {size} bytes and may have {limit}.

    Store large data elsewhere and pass a reference, or raise `max_payload_bytes`.
    """

    field: str
    size: int
    limit: int
    code = "INVALID_ARGUMENT"
    reason = "PAYLOAD_TOO_LARGE"


@dataclass(eq=False)
class Unauthenticated(HundredfoldError):
    """This call needs a secret, and the one given is missing or unknown.

    Over TCP, pass the token of the coordinator's token file.
    """

    code = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


@dataclass(eq=False)
class PermissionDenied(HundredfoldError):
    """This is not allowed: {problem}."""

    problem: str
    code = "PERMISSION_DENIED"
    reason = "PERMISSION_DENIED"


@dataclass(eq=False)
class Unreachable(HundredfoldError):
    """No coordinator answers at {address} ({problem}). Start one with `hundredfold serve`."""

    address: str
    problem: str
    code = "UNAVAILABLE"
    reason = "UNREACHABLE"


@dataclass(eq=False)
class TimedOut(HundredfoldError):
    """Nothing came within {seconds} s. What was submitted goes on; wait again to see its end."""

    seconds: str
    code = "DEADLINE_EXCEEDED"
    reason = "TIMED_OUT"
