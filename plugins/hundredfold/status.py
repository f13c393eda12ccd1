"""The wire form of errors: `google.rpc.Status` with details, in the style of AIP-193.

`ErrorInfo` carries reason and figures, `BadRequest` names the field, `QuotaFailure` the setting that is used up,
`RetryInfo` says when to try again. Details stay under 2 KB, because gRPC limits metadata, where they travel, to 8 KB.

No gRPC here: zygotes import this. See also: `hundredfold.client.rpc_error`.
"""

import re
from dataclasses import fields
from typing import Any, Final

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from hundredfold.errors import (
    DOMAIN,
    ERRORS,
    HundredfoldError,
    InternalError,
    InvalidInput,
    PayloadTooLarge,
    QueueFull,
    Unreachable,
)

_TEXT_BYTES: Final = 300
_TOO_LARGE: Final = re.compile(r"message larger than max \((\d+) vs\. (\d+)\)")  # gRPC's own words


def to_status(error: HundredfoldError) -> status_pb2.Status:
    """Return the status that says `error`."""
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.code), message=_short(str(error)), details=list(map(_pack, _details(error)))
    )


def _details(error: HundredfoldError) -> list[Any]:
    figures = {name: _short(str(value)) for name, value in error.figures().items()}
    message = _short(str(error))
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=figures)]
    if error.code == "INVALID_ARGUMENT" and "field" in figures:
        # A client needs the path in its request; an InvalidInput knows the path in the input.
        path = f"spec.input.{error.field}" if isinstance(error, InvalidInput) else figures["field"]
        violation = error_details_pb2.BadRequest.FieldViolation(field=_short(path), description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, QueueFull):
        violation = error_details_pb2.QuotaFailure.Violation(subject=figures["setting"], description=figures["what"])
        details.append(error_details_pb2.QuotaFailure(violations=[violation]))
    if "retry_seconds" in figures:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(int(figures["retry_seconds"]))
        details.append(retry)
    return details


def from_status(status: status_pb2.Status) -> HundredfoldError:
    """Return the error that `status` says; an `InternalError` with its message if it is not one of ours."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN and info.reason in ERRORS:
            cls = ERRORS[info.reason]
            return cls(**{field.name: _figure(field.type, info.metadata.get(field.name, "")) for field in fields(cls)})
    return InternalError(problem=status.message or f"status {status.code}")


def from_code(code: str, message: str, address: str) -> HundredfoldError:
    """Return what a call to `address` means that ended with a code, such as `NOT_FOUND`, and no status."""
    if code == "CANCELLED":  # without a status, by gRPC itself
        problem = "it has dropped the call: it is ending, or has more calls waiting than it can take"
        return Unreachable(address=address, problem=problem)
    if code == "UNAVAILABLE":
        # gRPC wraps the reason, which comes last, in several layers of its own.
        return Unreachable(address=address, problem=_short(message.rsplit("error: ", 1)[-1]))
    too_large = _TOO_LARGE.search(message)
    if too_large:
        return PayloadTooLarge("request", int(too_large[1]), int(too_large[2]))
    return InternalError(problem=f"{code}: {_short(message)}")


def _figure(kind: object, text: str) -> str | int:
    if kind not in (int, "int"):
        return text
    return int(text) if text.isdecimal() else 0  # another version may know other figures


def _pack(detail: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _short(text: str) -> str:
    """Return the beginning of a text, by the bytes it has on the wire; what is no character becomes a question mark."""
    data = text.encode(errors="replace")
    return (
        text if len(data) <= _TEXT_BYTES and data.decode() == text else data[:_TEXT_BYTES].decode(errors="ignore") + "…"
    )
