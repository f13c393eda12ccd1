"""Takes the server away under a coordinator whose store it is, and the coordinator under its agents.

S6, S7 and C5 of the fault list, and two coordinators on one store. Seen red: without `Outage.commit` a killed server
ends the coordinator; without the guard a coordinator that was stopped writes over its successor.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import psycopg
import pytest
from hundredfold import Submission, SyncClient
from hundredfold.client import result_of
from hundredfold.errors import HundredfoldError, StoreInUse, StoreUnreachable
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores import hundredfold_store
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.postgresql.store import PostgresqlStore
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import task_pb2
from hundredfold_coordinator import keys
from servers.postgresql import PostgresqlServer
from servers.redis import RedisServer
from test_hosts import is_gone
from world import AGENTS

SUCCEEDED = task_pb2.TASK_STATE_SUCCEEDED
TERM = 1.0


class Server(Protocol):
    """A server that can be taken away."""

    def store(self) -> str:
        """Return the URL of a new store."""

    def kill(self) -> None:
        """End it as the loss of power would."""

    def start(self) -> None:
        """Start it again."""

    def pause(self) -> None:
        """Stop it where it is."""

    def resume(self) -> None:
        """Let it go on."""


class Valkey(RedisServer):
    """One that keeps a store for each namespace."""

    def store(self) -> str:
        return self.url(f"n{uuid4().hex[:8]}")


class Postgres(PostgresqlServer):
    """One that keeps a store for each database."""

    store = PostgresqlServer.new_database
    pause, resume = PostgresqlServer.stop_for_now, PostgresqlServer.go_on


BOTH = pytest.mark.parametrize("server", ["redis", "postgresql"], indirect=True)
IMPATIENT = ("--plugin", str(Path(__file__).with_name("impatient.py")))


@pytest.fixture(params=["redis", pytest.param("postgresql", marks=pytest.mark.soak)])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind, for one test, or one that all tests share which do not take it away."""
    if request.param == "the same postgresql":
        yield request.getfixturevalue("postgresql")
        return
    directory = Path(tempfile.mkdtemp(prefix="hf-redis-"))
    server = Valkey(directory) if request.param == "redis" else Postgres()
    try:
        yield server
    finally:
        server.kill() if isinstance(server, Valkey) else server.close()
        shutil.rmtree(directory)


@pytest.fixture
def url(server: Server | PostgresqlServer) -> str:
    """The URL of a new store."""
    return server.new_database() if isinstance(server, PostgresqlServer) else server.store()


@pytest.fixture
def start(tmp_path: Path, url: str) -> Iterator[Callable[..., CoordinatorProcess]]:
    """Start coordinators on the server, with one data directory; all are stopped at the end."""
    started: list[CoordinatorProcess] = []

    def start(*arguments: str, wait: bool = True) -> CoordinatorProcess:
        options = ["--plugin", str(AGENTS), "--store", url, "--lease-seconds", str(TERM), *arguments]
        started.append(CoordinatorProcess(tmp_path / "data", options, wait=wait))
        return started[-1]

    yield start
    for process in reversed(started):
        process.signal(signal.SIGCONT)
        process.stop()


@BOTH
def test_a_server_that_is_killed_in_the_middle_costs_nothing(
    start: Callable[..., CoordinatorProcess], server: Server, tmp_path: Path
) -> None:
    names = [f"t{number}" for number in range(60)]
    with start("--concurrency", "10").client() as client:
        wishes = [
            Submission("count", {"ledger": str(tmp_path / "ledger"), "name": name, "seconds": 0.3}) for name in names
        ]
        ids = [task.id for task in client.submit_many(wishes)]
        eventually(lambda: ended(client) >= 10, what="some of them")
        server.kill()
        eventually(lambda: _gate(client) == task_pb2.GATE_KIND_STORE_UNREACHABLE, what="the gate")
        before = time.monotonic()
        with pytest.raises(StoreUnreachable) as refused:
            client.submit("count", {"ledger": str(tmp_path / "ledger"), "name": "late"})
        with pytest.raises(StoreUnreachable):
            client.get(ids[0])
        assert "does not answer" in client.status().store_problem
        assert client.hosts()
        assert client.workers()
        assert time.monotonic() - before < 1, "they must not wait for the store"
        assert refused.value.retry_seconds >= 1
        time.sleep(1)
        server.start()
        tasks = list(client.as_ended(ids, timeout_seconds=60))
        assert client.status().store_problem == ""
    assert {task.state for task in tasks} == {SUCCEEDED}
    assert {len(task.attempts) for task in tasks} == {1}, "none was made twice"
    assert sorted(result_of(task) for task in tasks) == sorted(names)


def ended(client: SyncClient) -> int:
    return sum(count.count for count in client.status().task_counts if count.state == SUCCEEDED)


def _gate(client: SyncClient) -> int:
    return next((count.gate for count in client.status().gate_counts), 0)


def test_a_slow_server_slows_nobody_down_who_does_not_need_it(
    start: Callable[..., CoordinatorProcess], server: Server, tmp_path: Path
) -> None:
    wish = {"ledger": str(tmp_path / "ledger")}
    with start().client() as client:
        ids = [client.submit("count", {**wish, "name": f"t{number}"}).id for number in range(5)]
        list(client.as_ended(ids, timeout_seconds=20))
        server.pause()
        slow = threading.Thread(target=client.submit, args=("count", {**wish, "name": "slow"}))
        slow.start()
        answered = []
        for _ in range(20):
            begin = time.monotonic()
            client.status()
            client.workers()
            answered.append(time.monotonic() - begin)
            time.sleep(0.05)
        assert slow.is_alive(), "it has to wait for the store"
        server.resume()
        slow.join(10)
        eventually(lambda: ended(client) == 6, what="the one that had to wait")
    assert max(answered) < 0.5


def test_a_server_that_is_away_at_the_start_is_waited_for(
    start: Callable[..., CoordinatorProcess], server: Server, tmp_path: Path
) -> None:
    server.kill()
    process = start(wait=False)
    eventually(lambda: "does not answer" in process.log, what="the word about it")
    server.start()
    eventually(lambda: "hundredfold serves at" in process.log, what="serving")
    with process.client() as client:
        wish = {"ledger": str(tmp_path / "ledger"), "name": "one"}
        assert result_of(client.wait(client.submit("count", wish).id)) == "one"


def test_patience_ends(start: Callable[..., CoordinatorProcess], server: Server) -> None:
    server.kill()
    process = start("--store-patience-seconds", "0.5", wait=False)
    assert process.wait() != 0
    assert "has not answered for" in process.log
    server.start()


# Two coordinators -----------------------------------------------------------------------------------------------------


def test_a_second_coordinator_names_the_first(start: Callable[..., CoordinatorProcess], tmp_path: Path) -> None:
    first = start()
    other = start("--data-dir", str(tmp_path / "other"), wait=False)
    assert other.wait() != 0
    assert StoreInUse.reason in other.log
    assert f"pid {first.pid}" in other.log


@pytest.mark.parametrize(
    "server", ["redis", pytest.param("the same postgresql", marks=pytest.mark.soak)], indirect=True
)
@pytest.mark.usefixtures("postgresql")  # before anything is counted that a test may leave behind
@pytest.mark.parametrize(
    "how",
    [pytest.param(signal.SIGKILL, marks=pytest.mark.soak), signal.SIGSTOP],
    ids=["killed", "stopped"],
)
def test_a_standby_takes_over_what_runs(
    start: Callable[..., CoordinatorProcess], tmp_path: Path, how: signal.Signals
) -> None:
    first = start("--concurrency", "60", *IMPATIENT)
    standby = start("--concurrency", "60", "--standby", *IMPATIENT, wait=False)
    eventually(lambda: "standing by" in standby.log, what="standing by")
    wish = {"ledger": str(tmp_path / "ledger"), "seconds": 3.0}
    with first.client() as client:
        names = [f"t{number}" for number in range(50)]
        ids = [task.id for task in client.submit_many([Submission("count", {**wish, "name": name}) for name in names])]
        eventually(lambda: sum(one.pid > 0 for one in client.workers()) == 50, what="50 of them")
    begin = time.monotonic()
    os.kill(first.pid, how)
    eventually(lambda: "hundredfold serves at" in standby.log, seconds=20, what="the takeover")
    assert time.monotonic() - begin < 2 * TERM + 1.5, "two terms, and the time it takes to start"
    with standby.client() as client:
        tasks = list(client.as_ended(ids, timeout_seconds=60))
        assert {task.state for task in tasks} == {SUCCEEDED}
        assert {len(task.attempts) for task in tasks} == {1}, "agents were taken up, not begun again"
        if how == signal.SIGSTOP:
            first.signal(signal.SIGCONT)
            assert first.wait() == 3
            assert "Another coordinator has taken over this store" in first.log
            assert client.status().pid == standby.pid, "its sockets are still there"
            assert result_of(client.wait(client.submit("count", {**wish, "seconds": 0, "name": "after"}).id))


def test_a_standby_outlives_its_server_being_away(start: Callable[..., CoordinatorProcess], server: Server) -> None:
    """Seen red when nobody asked the server again before a coordinator served."""
    first = start()
    standby = start("--standby", wait=False)
    eventually(lambda: "standing by" in standby.log, what="standing by")
    server.kill()
    eventually(lambda: "does not answer" in standby.log, what="the word about it")
    server.start()
    eventually(lambda: "answers again" in standby.log, what="it back")
    time.sleep(1.5 * TERM)
    assert "hundredfold serves at" not in standby.log, "the first one lives"
    first.signal(signal.SIGKILL)
    eventually(lambda: "hundredfold serves at" in standby.log, seconds=10, what="the takeover")


def test_a_standby_elsewhere_does_not_wait_for_agents_it_cannot_hear(
    start: Callable[..., CoordinatorProcess], tmp_path: Path
) -> None:
    """Seen red when it waited until their host had ended itself, after `orphan_seconds`."""
    first = start()
    standby = start("--standby", "--data-dir", str(tmp_path / "other"), wait=False)
    eventually(lambda: "standing by" in standby.log, what="standing by")
    wish = {"ledger": str(tmp_path / "ledger"), "seconds": 1.0}
    with first.client() as client:
        ids = [client.submit("count", {**wish, "name": f"t{number}"}).id for number in range(3)]
        eventually(lambda: sum(one.pid > 0 for one in client.workers()) == 3, what="all of them")
        before = [one.pid for one in client.workers()]
    first.signal(signal.SIGKILL)
    eventually(lambda: "hundredfold serves at" in standby.log, what="the takeover")
    with SyncClient(f"unix:{tmp_path / 'other' / 'api.sock'}") as client:
        tasks = list(client.as_ended(ids, timeout_seconds=20))
        client.drain(drain_seconds=0)
    assert standby.wait() == 0
    assert {task.state for task in tasks} == {SUCCEEDED}
    assert {len(task.attempts) for task in tasks} == {2}
    eventually(lambda: all(map(is_gone, before)), what="their end")


def test_what_another_machine_may_run_is_not_begun_again_beside_it(
    start: Callable[..., CoordinatorProcess], url: str, tmp_path: Path
) -> None:
    """Seen red when a host of another machine counted as dead; the end, when what it runs was waited for."""
    first = start()
    with first.client() as client:
        task_id = client.submit("count", {"ledger": str(tmp_path / "ledger"), "name": "one", "seconds": 30}).id
        eventually(lambda: any(one.pid > 0 for one in client.workers()), what="its agent")
        (host,) = client.hosts()
    for pid in (first.pid, host.pid):
        os.kill(pid, signal.SIGKILL)
    _move(url, keys.host(host.id))
    second = start()
    with second.client() as client:
        task = client.get(task_id)
        assert (task.state, len(task.attempts)) == (task_pb2.TASK_STATE_RUNNING, 1)
        client.drain(drain_seconds=0, grace_seconds=0)
    assert second.wait(10) == 0


def _move(url: str, host: bytes) -> None:
    """Have a host be one of another machine."""
    store = hundredfold_store(url)
    assert store
    with closing(store):
        (found,) = store.get([host])
        assert found
        record = records_pb2.HostRecord.FromString(found.value)
        record.process.boot_id = "another machine's"
        store.commit([Batch([Write(host, record.SerializeToString())])])


@pytest.mark.parametrize("server", ["the same postgresql"], indirect=True)
@pytest.mark.usefixtures("postgresql")
def test_the_lease_is_kept_however_long_a_start_takes(
    start: Callable[..., CoordinatorProcess], server: PostgresqlServer, url: str
) -> None:
    """Seen red when the heartbeat waited for the making of the index: the standby took over in the middle."""
    PostgresqlStore(url).close()
    with psycopg.connect(url) as other, other.transaction():
        other.execute("LOCK TABLE hundredfold.embedding")  # whoever makes the index waits
        first = start(wait=False)
        taken = "SELECT 1 FROM hundredfold.record WHERE key = 'lease'"
        eventually(lambda: server.execute(taken, url), what="its lease")
        standby = start("--standby", wait=False)
        eventually(lambda: "standing by" in standby.log, what="standing by")
        time.sleep(3 * TERM)
        assert "taking over" not in standby.log
        assert "serves at" not in first.log, "it has to be busy"
        standby.signal(signal.SIGTERM)
        assert standby.wait(5) == 0
    eventually(lambda: "hundredfold serves at" in first.log, what="serving")


def test_a_coordinator_that_ends_in_order_is_followed_at_once(start: Callable[..., CoordinatorProcess]) -> None:
    first = start("--lease-seconds", "60")
    standby = start("--lease-seconds", "60", "--standby", wait=False)
    time.sleep(1)
    with first.client() as client:
        client.drain(drain_seconds=0)
    assert first.wait() == 0
    eventually(lambda: "hundredfold serves at" in standby.log, seconds=10, what="the next one")


def test_a_standby_ends_when_it_is_told(start: Callable[..., CoordinatorProcess]) -> None:
    start()
    standby = start("--standby", wait=False)
    eventually(lambda: "standing by" in standby.log, what="standing by")
    standby.signal(signal.SIGTERM)
    assert standby.wait(5) == 0


def test_clients_are_told_in_words_that_help(start: Callable[..., CoordinatorProcess], server: Server) -> None:
    with start().client() as client:
        server.kill()
        with pytest.raises(HundredfoldError) as refused:
            client.get("nobody")
        assert refused.value.reason == "STORE_UNREACHABLE"
        assert "does not answer" in str(refused.value)
        assert "Tasks that run go on" in str(refused.value)
        server.start()
