"""What the stores that are servers cost beside the default one, and what it costs when one of them goes away."""

import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from hundredfold import Item, Submission, SyncClient
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import task_pb2

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers.postgresql import PostgresqlServer
from servers.redis import RedisServer

_AGENTS: Final = Path(__file__).with_name("agents.py")
_FAULTS: Final = Path(__file__).resolve().parents[1] / "faults" / "agents.py"
_SUCCEEDED: Final = task_pb2.TASK_STATE_SUCCEEDED
_ROUNDS: Final = 5
_STARTS: Final = 40
_AWAY_SECONDS: Final = 10.0
_DISK: Final = "/var/tmp"  # noqa: S108  # where the default store is in these measures; directories are mkdtemp's
_ITEMS: Final = [Item("user", "x" * 1000)] * 100


class _Server(Protocol):
    def store(self) -> str:
        """Return the URL of a new store."""

    def kill(self) -> None:
        """End it as the loss of power would."""

    def start(self) -> None:
        """Start it again."""


class _Postgres(PostgresqlServer):
    def store(self) -> str:
        return self.new_database()


class _Valkey(RedisServer):
    def store(self) -> str:
        return self.url(f"n{time.time_ns()}")


@contextlib.contextmanager
def _servers() -> Iterator[dict[str, _Server]]:
    """Run both kinds of server, on the disk that the default store has."""
    short = Path(tempfile.mkdtemp(prefix="hf-", dir=_DISK))
    valkey, postgres = _Valkey(short), _Postgres(_DISK)
    try:
        yield {"postgresql": postgres, "redis": valkey}
    finally:
        valkey.kill()
        postgres.close()
        shutil.rmtree(short)


@contextlib.contextmanager
def _coordinators(directory: Path, servers: dict[str, _Server]) -> Iterator[dict[str, SyncClient]]:
    """Run a coordinator on each kind of store."""
    urls = {"sqlite": "", **{name: server.store() for name, server in servers.items()}}
    with contextlib.ExitStack() as stack:
        clients = {}
        for name, url in urls.items():
            options = ["--plugin", str(_AGENTS), *(["--store", url] if url else [])]
            process = CoordinatorProcess(directory / name, options)
            stack.callback(process.stop)
            clients[name] = stack.enter_context(process.client())
        yield clients


def backends(directory: Path, n: int = 100) -> dict[str, Any]:
    """Run `n` agents of a second on each store in turn; and see what a context of 100 items adds to a start."""
    figures: dict[str, Any] = {"n": n}
    with _servers() as servers, _coordinators(directory, servers) as clients:
        makespans: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(_ROUNDS):
            for name, client in clients.items():
                makespans[name].append(_makespan(client, n))
        medians = {name: statistics.median(one) for name, one in makespans.items()}
        for name, client in clients.items():
            figures[f"{name}_s"] = round(medians[name], 3)
            figures[f"{name}_ratio"] = round(medians[name] / medians["sqlite"], 3)
            figures[f"{name}_context_ms"] = round(_context_milliseconds(client), 2)
    return figures


def _makespan(client: SyncClient, n: int) -> float:
    begin = time.perf_counter()
    ids = [task.id for task in client.submit_many([Submission("nap", {"seconds": 1.0})] * n)]
    assert {task.state for task in client.as_ended(ids)} == {_SUCCEEDED}
    return time.perf_counter() - begin


def _context_milliseconds(client: SyncClient) -> float:
    """Return how much longer a task takes whose session has 100 items of 1 KB."""
    client.sessions.commit("full", _ITEMS)
    client.sessions.commit("empty", set={"a": 1})
    times: dict[str, list[float]] = {"full": [], "empty": []}
    for _ in range(_STARTS):
        for session, seconds in times.items():
            begin = time.perf_counter()
            client.wait(client.submit("nap", {"seconds": 0.0}, session=session).id)
            seconds.append(time.perf_counter() - begin)
    return 1000 * (statistics.median(times["full"]) - statistics.median(times["empty"]))


def outages(directory: Path, n: int = 200) -> dict[str, Any]:
    """Kill each kind of server in the middle of `n` tasks, and bring it back after ten seconds."""
    figures: dict[str, Any] = {"n": n, "away_s": _AWAY_SECONDS}
    with _servers() as servers:
        for name, server in servers.items():
            options = ["--plugin", str(_FAULTS), "--store", server.store(), "--concurrency", "20"]
            process = CoordinatorProcess(directory / f"out-{name}", options)
            try:
                with process.client() as client:
                    figures |= {f"{name}_{key}": value for key, value in _outage(client, server, directory, n).items()}
            finally:
                process.stop()
    return figures


def _outage(client: SyncClient, server: _Server, directory: Path, n: int) -> dict[str, Any]:
    ledger = directory / f"ledger-{time.time_ns()}"
    wishes = [Submission("count", {"ledger": str(ledger), "name": f"t{one}", "seconds": 1.0}) for one in range(n)]
    ids = [task.id for task in client.submit_many(wishes)]
    eventually(lambda: _ended(client) > n // 4, seconds=60, what="a quarter of them")
    server.kill()
    time.sleep(_AWAY_SECONDS)
    server.start()
    begin = time.perf_counter()
    tasks = list(client.as_ended(ids, timeout_seconds=300))
    ran = [line.split()[0] for line in ledger.read_text().splitlines()]
    return {
        "succeeded": sum(task.state == _SUCCEEDED for task in tasks),
        "run_twice": len(ran) - len(set(ran)),
        "after_s": round(time.perf_counter() - begin, 2),
    }


def _ended(client: SyncClient) -> int:
    return sum(count.count for count in client.status().task_counts if count.state == _SUCCEEDED)
