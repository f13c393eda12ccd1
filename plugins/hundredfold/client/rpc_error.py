"""What gRPC raises when a call fails, as a typed error."""

import contextlib

import grpc
from grpc_status import rpc_status

from hundredfold.errors import HundredfoldError
from hundredfold.status import from_code, from_status


def from_rpc_error(error: grpc.RpcError, address: str) -> HundredfoldError:
    """Return what a failed call to `address` means."""
    with contextlib.suppress(ValueError):  # a proxy or a limit of gRPC has replaced the code, which then counts
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # every RpcError that a call raises is a Call
        if status is not None:
            return from_status(status)
    return from_code(error.code().name, error.details() or "", address)
