"""The tool API: an HTTP server on 127.0.0.1 that tells agents about modules, and is not always well.

`GET /{tool}/{module}` answers with JSON. Some calls are late, some are never answered, some get 503: see `faults.py`.

See also: `library.py`, what it knows; `toolbox.py`, how agents cope.
"""

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Final

from faults import Fault, Faults
from library import Library

_LATE_SECONDS: Final = 0.7
_LONGEST_SILENCE_SECONDS: Final = 30.0


class ToolApi(socketserver.ThreadingTCPServer):
    """The server; a hundred agents may call at the same moment."""

    daemon_threads = True
    block_on_close = False  # who is kept waiting for ever must not keep this from ending
    request_queue_size = 512

    def __init__(self, library: Library, faults: Faults) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.library = library
        self.faults = faults

    @property
    def address(self) -> str:
        """Where it listens, as `127.0.0.1:8000`."""
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve, in threads, while the block runs."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="tool-api")
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class _Call(BaseHTTPRequestHandler):
    """One call."""

    server: ToolApi

    def do_GET(self) -> None:
        """Answer, or act out a fault."""
        fault = self.server.faults.strike(self.path)
        if fault is Fault.SILENT:
            self._wait_for_hang_up()
        elif fault in (Fault.BUSY, Fault.BROKEN):
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, "not now")
        else:
            time.sleep(_LATE_SECONDS if fault is Fault.LATE else 0)
            self._look_up()

    def _look_up(self) -> None:
        try:
            _, tool, module = self.path.split("/")
            answer = self.server.library.ask(tool, module)
        except (KeyError, ValueError):
            self._answer(HTTPStatus.NOT_FOUND, "no such tool or module")
        else:
            self._answer(HTTPStatus.OK, answer)

    def _answer(self, code: HTTPStatus, value: object) -> None:
        body = json.dumps(value).encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True  # the agent was cancelled; there is nobody to tell

    def _wait_for_hang_up(self) -> None:
        self.close_connection = True
        self.connection.settimeout(_LONGEST_SILENCE_SECONDS)
        with suppress(OSError):
            self.connection.recv(1)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name it has in the base class
        """Say nothing: what happened is counted in `faults`."""
