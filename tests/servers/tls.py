"""TLS before a server that has none: the servers of the wheels are built without it, the clients are not."""

import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BYTES: Final = 1 << 16
_SSL_REQUEST: Final = struct.pack(">II", 8, 80877103)
"""What a client of PostgreSQL asks before TLS: https://www.postgresql.org/docs/current/protocol-message-formats.html."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for `localhost`, signed with its own key."""

    path: Path
    key: Path


def make_certificate(directory: Path) -> Certificate | None:
    """Make one in an existing directory; None where there is no `openssl` to do that."""
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    program = shutil.which("openssl")
    if program is None:
        return None
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(made.key), "-out", str(made.path)]
    subprocess.run([program, "req", "-x509", *curve, *name, *files], check=True, capture_output=True)
    return made


class TlsProxy:
    """Takes TLS on a port of `localhost`, and passes on what is inside to the Unix socket `target`.

    Args:
        target: of the server.
        certificate: what it shows; without one it refuses TLS, as PostgreSQL does in words.
        asked_first: whether clients ask for TLS before they begin it, as those of PostgreSQL do.

    """

    def __init__(self, target: Path, certificate: Certificate | None, *, asked_first: bool) -> None:
        self._target, self._asked_first = str(target), asked_first
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate.path, certificate.key)
        self.handshakes = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("localhost", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """End all connections, and it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in (*self._open, self._listener):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(client)
            self._threads.append(threading.Thread(target=self._serve, args=(client,)))
            self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError):  # a client may not like the certificate, or go at any time
            if self._asked_first:
                assert client.recv(len(_SSL_REQUEST), socket.MSG_WAITALL) == _SSL_REQUEST
                client.sendall(b"S" if self._context else b"N")
            if self._context is None:
                return client.shutdown(socket.SHUT_RDWR)
            inside = self._context.wrap_socket(client, server_side=True)
            self._open.append(inside)
            self.handshakes += 1
            server = socket.socket(socket.AF_UNIX)
            self._open.append(server)
            server.connect(self._target)
            self._threads.append(threading.Thread(target=_pass_on, args=(server, inside)))
            self._threads[-1].start()
            _pass_on(inside, server)
        return None


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_BYTES):
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_before(target: Path, certificate: Certificate | None, *, asked_first: bool = False) -> Iterator[TlsProxy]:
    """Yield a proxy to the socket `target`."""
    proxy = TlsProxy(target, certificate, asked_first=asked_first)
    try:
        yield proxy
    finally:
        proxy.close()
