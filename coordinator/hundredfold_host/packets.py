"""Packets with descriptors over a socket pair, without ever blocking: both ends may send as much as they like, at once.

A host that blocked while it sends would not read, its zygote would block on its answers, and both would wait for ever.
"""

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

_PACKET: Final = 256 * 1024
_DESCRIPTORS: Final = 1


class Packets:
    """One end of a SOCK_SEQPACKET pair.

    Args:
        end: the socket; owned by this object from here on.
        on_packet: called with the data and the descriptors of each packet that comes.
        on_end: called once, when the other end is gone.

    """

    def __init__(
        self, end: socket.socket, on_packet: Callable[[bytes, list[int]], None], on_end: Callable[[], None]
    ) -> None:
        self._socket = end
        self._on_packet = on_packet
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()
        end.settimeout(0)
        self._loop.add_reader(end.fileno(), self._receive)

    def send(self, data: bytes, descriptors: list[int] | None = None) -> None:
        """Send a packet, and close its descriptors when they have travelled. Lost if the other end is gone."""
        self._outgoing.append((data, descriptors or []))
        if len(self._outgoing) == 1:
            self._flush()

    def finish(self) -> None:
        """Take what has come so far, then end as if the other end were gone."""
        self._receive()
        if self._socket.fileno() >= 0:
            self.close()
            self._on_end()

    def close(self) -> None:
        """Drop what was not sent, and end. Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
        while self._outgoing:
            _close_all(self._outgoing.popleft()[1])

    def _flush(self) -> None:
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                socket.send_fds(self._socket, [data], descriptors)
            except BlockingIOError:
                self._loop.add_writer(self._socket.fileno(), self._flush)
                return
            except OSError:
                pass  # the other end is gone, which `_receive` notices
            _close_all(self._outgoing.popleft()[1])
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket.fileno())

    def _receive(self) -> None:
        while self._socket.fileno() >= 0:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, _PACKET, _DESCRIPTORS)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self.close()
                self._on_end()
                return
            self._on_packet(data, descriptors)


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
