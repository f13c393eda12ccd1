"""Unary gRPC calls to a server at a Unix socket: blocking, one at a time, in no thread but the caller's.

gRPC's own Python library starts half a dozen threads in every process that uses it, writes to some 600 pages of the
memory a worker shares with its zygote, and does not promise that a process that has used it may fork. A worker makes
two calls in its life. See docs/adr/0009; the protocol is that of the gRPC project's PROTOCOL-HTTP2.
"""

import base64
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import unquote

from hundredfold_worker.http2 import Answer, Connection, Disconnected, encode

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
INTERNAL: Final = 13
UNAVAILABLE: Final = 14
_LAST_CODE: Final = 16

_PREFIX: Final = struct.Struct("!BI")  # 1 if the message is compressed, and its length
_RETRIED_RESETS: Final = (0, 7, 8)  # NO_ERROR, REFUSED_STREAM, CANCEL: the server is closing


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call.

    Attributes:
        code: gRPC status code; `UNAVAILABLE` also when there is nobody, or not any more.
        message: what it says.
        details: a serialized `google.rpc.Status`, if there is one.
        data: the serialized message, if the code is `OK`.

    """

    code: int
    message: str = ""
    details: bytes = b""
    data: bytes = b""


class Transport:
    """One connection, made when it is needed, and again when it has broken.

    Args:
        connect: returns a connected blocking socket, or raises OSError.

    """

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def call(self, method: str, request: bytes, secret: str) -> Reply:
        """Call `/package.Service/Method` as the bearer of a secret.

        Whether a call that did not succeed was heard is not known.
        """
        headers = _fixed_headers(method) + encode([(b"authorization", b"Bearer " + secret.encode())])
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = Connection(self._connect())
                answer = self._connection.request(headers, _PREFIX.pack(0, len(request)) + request)
            except (Disconnected, OSError, struct.error, IndexError) as error:  # the latter two: frames cut short
                self.close()
                return Reply(UNAVAILABLE, str(error))
            except BaseException:
                self.close()  # a signal's handler has raised: nobody knows how far the call has come
                raise
            if self._connection.going_away:
                self.close()
        return _reply(answer)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection:
            self._connection.close()
            self._connection = None


@cache
def _fixed_headers(method: str) -> bytes:
    return encode(
        [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", method.encode()),
            (b":authority", b"localhost"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc+proto"),
        ]
    )


def _reply(answer: Answer) -> Reply:
    if answer.reset is not None:
        code = UNAVAILABLE if answer.reset in _RETRIED_RESETS else INTERNAL
        return Reply(code, f"the server reset the call with HTTP/2 error {answer.reset}")
    headers = dict(answer.headers)
    if b"grpc-status" not in headers:
        return Reply(
            UNKNOWN, f"the server answered HTTP {headers.get(b':status', b'?').decode()} without a gRPC status"
        )
    code = _code(headers[b"grpc-status"])
    if code != OK:
        details = headers.get(b"grpc-status-details-bin", b"")
        message = unquote(headers.get(b"grpc-message", b"").decode())
        return Reply(code, message, base64.b64decode(details + b"=" * (-len(details) % 4)))
    return _message(answer.body)


def _code(text: bytes) -> int:
    return int(text) if text.isdigit() and int(text) <= _LAST_CODE else UNKNOWN


def _message(body: bytearray) -> Reply:
    if len(body) < _PREFIX.size or _PREFIX.unpack_from(body) != (0, len(body) - _PREFIX.size):
        return Reply(INTERNAL, "the server's answer is not one uncompressed message")
    return Reply(OK, data=bytes(memoryview(body)[_PREFIX.size :]))
