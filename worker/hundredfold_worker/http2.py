"""The client's side of one HTTP/2 connection over a blocking socket: one request at a time, in the caller's thread.

As much of RFC 9113 as such a client meets: requests with a body, flow control both ways, and what a server may say in
between. Headers are coded by `hpack`. Not here: push, priorities, more than one stream open.

See also: `hundredfold_worker.transport`, which speaks gRPC over it.
"""

import contextlib
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hpack import Decoder
from hpack.exceptions import HPACKError

Header = tuple[bytes, bytes]

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK = END_STREAM = 0x1
END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 2, 4, 5
_DEFAULT_WINDOW: Final = 65_535
_DEFAULT_FRAME: Final = 16_384
_LARGEST_WINDOW: Final = 2**31 - 1

_READ: Final = 64 * 1024
_NEVER_INDEXED: Final = b"\x10"
_LONG, _MORE = 127, 128

_HEAD: Final = struct.Struct("!HBBBI")  # length in 16 + 8 bits, kind, flags, stream
_NUMBER: Final = struct.Struct("!I")
_SETTING: Final = struct.Struct("!HI")


class Disconnected(Exception):
    """The connection broke before the answer was complete; whether the request was heard is not known."""


@dataclass(slots=True)
class Answer:
    """What a server answered: headers and trailers in one list, and the body.

    Attributes:
        reset: the error code with which the server reset the stream; None if it ended it.
        ended: whether it is complete.

    """

    headers: list[Header] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    reset: int | None = None
    ended: bool = False


class Connection:
    """A connection over `wire`, which is closed with it."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._incoming = b""
        self._outgoing = _HELLO
        self._decoder = Decoder()
        self._block = b""
        self._last = False
        self._stream = -1
        self._window = _DEFAULT_WINDOW
        self._stream_window = self._initial_window = _DEFAULT_WINDOW
        self._frame_size = _DEFAULT_FRAME
        self._used = 0
        self.going_away = False

    def request(self, headers: bytes, body: bytes) -> Answer:
        """Send encoded headers and a body; return the answer.

        Raises:
            Disconnected: the server is gone, or does not take this request any more. Do not use it again.
            OSError: as above.

        """
        self._stream += 2
        self._stream_window = self._initial_window
        answer = Answer()
        self._outgoing += frame(HEADERS, END_HEADERS, self._stream, headers)
        self._send_body(memoryview(body), answer)
        while not answer.ended:
            self._receive(answer)
        self._flush()  # a server closes a connection whose client owes it an acknowledgement for long
        return answer

    def close(self) -> None:
        """Close the connection. Idempotent."""
        with contextlib.suppress(OSError):  # a behaviour may have closed every descriptor there is
            self._wire.close()

    def _send_body(self, body: memoryview, answer: Answer) -> None:
        while not answer.ended:
            room = min(self._window, self._stream_window, self._frame_size)
            if room <= 0 and body:
                self._receive(answer)
                continue
            piece, body = body[:room], body[room:]
            self._window -= len(piece)
            self._stream_window -= len(piece)
            self._outgoing += frame(DATA, 0 if body else END_STREAM, self._stream, piece)
            self._flush()
            if not body:
                return

    def _flush(self) -> None:
        if self._outgoing:
            # Who does not listen any more may have said something before.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._wire.sendall(self._outgoing)
            self._outgoing = b""

    def _receive(self, answer: Answer) -> None:
        """Take in one frame."""
        high, low, kind, flags, stream = _HEAD.unpack(self._read(_HEAD.size))
        payload = self._read(high << 8 | low)
        if kind in (DATA, HEADERS, CONTINUATION):
            # What is left of a request that was given up is taken in, for its headers, and thrown away.
            self._take(answer if stream == self._stream else Answer(), kind, flags, payload)
        elif kind == SETTINGS and not flags & ACK:
            self._settle(payload)
        elif kind == WINDOW_UPDATE:
            self._widen(stream, _NUMBER.unpack(payload)[0])
        elif kind == PING and not flags & ACK:
            self._outgoing += frame(PING, ACK, 0, payload)
        elif kind == RST_STREAM and stream == self._stream:
            (answer.reset,) = _NUMBER.unpack(payload)
            answer.ended = True
        elif kind == GOAWAY:
            self._leave(_NUMBER.unpack_from(payload)[0])

    def _read(self, size: int) -> bytes:
        while len(self._incoming) < size:
            self._flush()
            data = self._wire.recv(_READ)
            if not data:
                raise Disconnected("the server closed the connection")
            self._incoming += data
        data, self._incoming = self._incoming[:size], self._incoming[size:]
        return data

    def _take(self, answer: Answer, kind: int, flags: int, payload: bytes) -> None:
        if kind == DATA:
            self._use_window(len(payload))
        if kind != CONTINUATION:
            payload = _unpad(kind, flags, payload)
            self._last = bool(flags & END_STREAM)
        if kind == DATA:
            answer.body += payload
        else:
            self._block += payload
            if not flags & END_HEADERS:
                return
            answer.headers += self._decode()
        answer.ended = self._last

    def _use_window(self, size: int) -> None:
        self._used += size
        if self._used > _LARGEST_WINDOW // 2:  # which one answer hardly is, so most connections never get here
            self._outgoing += frame(WINDOW_UPDATE, 0, 0, _NUMBER.pack(self._used))
            self._used = 0

    def _decode(self) -> list[Header]:
        block, self._block = self._block, b""
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except HPACKError as error:
            raise Disconnected(f"the server's headers make no sense: {error}") from error

    def _settle(self, payload: bytes) -> None:
        for name, value in _SETTING.iter_unpack(payload):
            if name == _INITIAL_WINDOW_SIZE:
                self._stream_window += value - self._initial_window
                self._initial_window = value
            elif name == _MAX_FRAME_SIZE:
                self._frame_size = value
        self._outgoing += frame(SETTINGS, ACK, 0)

    def _widen(self, stream: int, size: int) -> None:
        if stream == 0:
            self._window += size
        elif stream == self._stream:
            self._stream_window += size

    def _leave(self, last_stream: int) -> None:
        self.going_away = True  # what it has heard it still answers
        if last_stream & _LARGEST_WINDOW < self._stream:
            raise Disconnected("the server is going away")


def encode(headers: Sequence[Header]) -> bytes:
    """Return the block of some headers; blocks can be joined, and used again on any connection.

    Every header is one that is never indexed (RFC 7541, 6.2.3), so that blocks depend on no state, and a secret among
    them is kept in nobody's table.
    """
    return b"".join(_NEVER_INDEXED + _text(name) + _text(value) for name, value in headers)


def _text(text: bytes) -> bytes:
    """Return a string literal: its length in a prefix of seven bits (RFC 7541, 5.1), then itself."""
    if len(text) < _LONG:
        return bytes((len(text),)) + text
    length, rest = [_LONG], len(text) - _LONG
    while rest >= _MORE:
        length.append(rest % _MORE + _MORE)
        rest //= _MORE
    return bytes((*length, rest)) + text


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    """Return a frame as it is sent."""
    size = len(payload)
    return b"".join((_HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream), payload))


def _unpad(kind: int, flags: int, payload: bytes) -> bytes:
    padding = 0
    if flags & _PADDED:
        padding, payload = payload[0], payload[1:]
    if kind == HEADERS and flags & _PRIORITY:
        payload = payload[5:]
    return payload[: len(payload) - padding]


_HELLO: Final = b"".join(
    (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        frame(SETTINGS, 0, 0, _SETTING.pack(_ENABLE_PUSH, 0) + _SETTING.pack(_INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)),
        frame(WINDOW_UPDATE, 0, 0, _NUMBER.pack(_LARGEST_WINDOW - _DEFAULT_WINDOW)),
    )
)
