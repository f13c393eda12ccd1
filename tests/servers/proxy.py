"""A proxy on a Unix socket that loses answers, loses requests, or holds them back until it is too late."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

_BYTES: Final = 1 << 20
_LOOK_SECONDS: Final = 0.02
_ANSWER_SECONDS: Final = 5.0


class Mischief(Enum):
    """What becomes of the next request."""

    LOSE_REQUEST = auto()
    LOSE_ANSWER = auto()
    HOLD_REQUEST = auto()


class Proxy:
    """A proxy; `mischief` is done once, `target` may change, and `release` sends what was held back."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self.mischief: Mischief | None = None
        self.target = target
        self._held: list[bytes] = []
        self._ending = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def release(self) -> bytes:
        """Send what was held back, over a connection of its own; return what the server answers."""
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self.target))
            server.settimeout(_ANSWER_SECONDS)
            server.sendall(b"".join(self._held))
            return server.recv(_BYTES)

    def close(self) -> None:
        self._ending = True
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._ending:
            if select.select([self._listener], [], [], _LOOK_SECONDS)[0]:
                client, _ = self._listener.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(client,)))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        # Who goes without a word has gone, too.
        with client, socket.socket(socket.AF_UNIX) as server, suppress(ConnectionError):
            server.connect(str(self.target))
            while not self._ending:
                for source in select.select([client, server], [], [], _LOOK_SECONDS)[0]:
                    data = source.recv(_BYTES)
                    if not data or not self._pass_on(data, client, server, is_request=source is client):
                        return

    def _pass_on(self, data: bytes, client: socket.socket, server: socket.socket, *, is_request: bool) -> bool:
        """Return whether the connection goes on."""
        mischief = self.mischief
        if mischief is Mischief.HOLD_REQUEST and is_request:
            self._held.append(data)
        elif mischief is (Mischief.LOSE_REQUEST if is_request else Mischief.LOSE_ANSWER):
            self.mischief = None
            return False
        else:
            (server if is_request else client).sendall(data)
        return True


@contextmanager
def proxy_to(target: Path) -> Iterator[Proxy]:
    """Yield a proxy to the socket `target`, beside it."""
    proxy = Proxy(target.with_name("proxy.sock"), target)
    try:
        yield proxy
    finally:
        proxy.close()
