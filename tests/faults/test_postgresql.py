"""Shows what the store in PostgreSQL does when its server, its connections or its URL fail it; on a real server."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from hundredfold.errors import Fenced, StoreFull, StoreUnavailable, StoreUnreachable
from hundredfold.stores.contract import ABSENT, Batch, Committed, Conflict, Guard, Write
from hundredfold.stores.postgresql import open_store
from hundredfold.stores.postgresql.connection import Connection
from hundredfold.stores.postgresql.failure import explain
from hundredfold.stores.postgresql.store import PostgresqlStore
from hundredfold.testing.coordinator import eventually, running_coordinator
from servers.postgresql import PostgresqlServer, database_of, running_postgresql


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    return postgresql.new_database()


@pytest.fixture
def store(url: str) -> Iterator[PostgresqlStore]:
    with closing(PostgresqlStore(url)) as store:
        yield store


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "silence_seconds", 1.0)


class Proxy:
    """A socket before the server's that passes on what it is told to.

    Attributes:
        keeps_answers: an answer to what comes from now on is kept, and the connection cut.
        is_shut: nobody gets in.
        requests: how often a client has sent something.

    """

    def __init__(self, directory: Path, server: PostgresqlServer) -> None:
        self.keeps_answers = self.is_shut = False
        self.requests = 0
        self._target = str(server.directory / ".s.PGSQL.5432")
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_shut:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._open += [client, server]
            for source, target in ((client, server), (server, client)):
                self._threads.append(threading.Thread(target=self._pass_on, args=(source, target, client)))
                self._threads[-1].start()

    def _pass_on(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.requests += source is client
                if self.keeps_answers and source is not client:
                    break
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._open:
            one.close()


@pytest.fixture
def proxy(tmp_path: Path, postgresql: PostgresqlServer) -> Iterator[Proxy]:
    with closing(Proxy(tmp_path, postgresql)) as proxy:
        yield proxy


def through(proxy_directory: Path, url: str) -> str:
    return f"{url.partition('?')[0]}?host={proxy_directory}"


def put(store: PostgresqlStore, key: bytes, value: bytes = b"v", expects: int = -1) -> Committed | Conflict:
    (result,) = store.commit([Batch([Write(key, value, expects)])])
    return result


# What was written, when the answer is lost ----------------------------------------------------------------------------


def test_a_commit_whose_answer_was_lost_is_not_made_twice(url: str, tmp_path: Path, proxy: Proxy) -> None:
    with closing(PostgresqlStore(through(tmp_path, url))) as store, closing(PostgresqlStore(url)) as other:
        taken = put(other, b"taken")
        batches = [Batch([Write(b"a", b"1", ABSENT)]), Batch([Write(b"taken", b"2", ABSENT)]), Batch([])]
        proxy.keeps_answers = proxy.is_shut = True
        for _ in range(2):
            with pytest.raises(StoreUnreachable, match="Try again in 1 s"):
                store.commit(batches)
        eventually(lambda: other.get([b"a"]) != [None], what="the commit whose answer is lost")
        put(other, b"later")
        proxy.keeps_answers = proxy.is_shut = False
        first, conflict, third = store.commit(batches)
        assert isinstance(taken, Committed)
        assert (first, conflict, third) == (
            Committed(taken.version + 1),
            Conflict(b"taken"),
            Committed(taken.version + 2),
        )
        assert [entry.key for entry in other.scan(b"")] == [b"a", b"later", b"taken"]
        assert put(store, b"a", b"2", ABSENT) == Conflict(b"a"), "the next commit is another one"


def test_a_commit_that_changes_its_own_guard_is_repeated_too(url: str, tmp_path: Path, proxy: Proxy) -> None:
    with closing(PostgresqlStore(through(tmp_path, url))) as store:
        lease = put(store, b"lease")
        assert isinstance(lease, Committed)
        proxy.keeps_answers = proxy.is_shut = True
        again = [Batch([Write(b"lease", b"2", lease.version)])], Guard(b"lease", lease.version)
        with pytest.raises(StoreUnreachable):
            store.commit(*again)
        with closing(PostgresqlStore(url)) as other:
            eventually(lambda: other.get([b"lease"])[0].value == b"2", what="the commit whose answer is lost")
        proxy.keeps_answers = proxy.is_shut = False
        assert store.commit(*again) == [Committed(lease.version + 1)]


def test_a_connection_that_is_cut_is_made_again_unseen(url: str, tmp_path: Path, proxy: Proxy) -> None:
    with closing(PostgresqlStore(through(tmp_path, url))) as store:
        for number in range(1, 4):
            proxy.keeps_answers = True  # the answer is lost, but whoever connects again, a moment later, gets in
            threading.Timer(0.05, lambda: setattr(proxy, "keeps_answers", False)).start()
            with suppress(StoreUnreachable):
                put(store, b"k", b"%d" % number)
            time.sleep(0.1)
            assert put(store, b"k", b"%d" % number)
        assert store.get([b"k"])[0].value == b"3"


def test_a_backend_that_is_terminated_is_not_missed(
    store: PostgresqlStore, postgresql: PostgresqlServer, url: str
) -> None:
    first = put(store, b"k")
    postgresql.terminate(url)
    second = put(store, b"k")
    assert isinstance(first, Committed)
    assert second == Committed(first.version + 1)


# Servers that end, or stand still -------------------------------------------------------------------------------------


def test_a_server_that_is_killed_is_found_again() -> None:
    with running_postgresql() as server, closing(PostgresqlStore(server.new_database())) as store:
        acknowledged = [put(store, b"%d" % number) for number in range(20)]
        server.kill()
        batches = [Batch([Write(b"while it was away", b"v", ABSENT)])]
        for call in (lambda: store.commit(batches), lambda: store.get([b"1"]), lambda: store.scan(b"")):
            with pytest.raises(StoreUnreachable):
                call()
        server.start()
        results = store.commit(batches)
        assert results[0].version > acknowledged[-1].version
        assert len(store.scan(b"")) == 21


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stands_still_is_given_up_and_written_to_once() -> None:
    with (
        running_postgresql() as server,
        closing(PostgresqlStore(f"{server.new_database()}&connect_timeout=2")) as store,
    ):
        first = put(store, b"k")
        server.stop_for_now()
        batches = [Batch([Write(b"new", b"v", ABSENT)])]
        began = time.monotonic()
        with pytest.raises(StoreUnreachable, match="nothing came for 1 s"):
            store.commit(batches)
        with pytest.raises(StoreUnreachable):
            store.commit(batches)
        assert time.monotonic() - began < 8
        server.go_on()
        assert store.commit(batches) == [Committed(first.version + 1)]
        assert put(store, b"k") == Committed(first.version + 2)


def test_a_lost_commit_that_arrives_late_is_refused(store: PostgresqlStore, url: str) -> None:
    put(store, b"k", b"1")
    store._number -= 2
    with pytest.raises(StoreUnavailable, match="came late"):
        put(store, b"k", b"2")
    with closing(PostgresqlStore(url)) as other:
        assert other.get([b"k"])[0].value == b"1"


def test_a_server_that_has_lost_commits_is_not_used(postgresql: PostgresqlServer, url: str) -> None:
    store = PostgresqlStore(url)
    put(store, b"k")
    put(store, b"k")
    postgresql.execute("UPDATE hundredfold.clock SET version = 1", url)
    postgresql.terminate(url)
    with pytest.raises(StoreUnavailable, match=r"lost its last 1 change"):
        store.get([b"k"])
    store.close()


def test_a_commit_is_one_round_trip(url: str, tmp_path: Path, proxy: Proxy) -> None:
    with closing(PostgresqlStore(through(tmp_path, url))) as store:
        lease = put(store, b"lease")
        for round_ in range(20):
            before = proxy.requests
            batches = [Batch([Write(b"%d/%d" % (round_, n), b"v", ABSENT), Write(b"all", b"v")]) for n in range(50)]
            assert len(store.commit(batches, Guard(b"lease", lease.version))) == 50
            # The driver has a statement that comes again prepared once, and that is a round trip of its own.
            assert round_ < 10 or proxy.requests - before == 1


# Several openers ------------------------------------------------------------------------------------------------------


def test_32_writers_come_one_after_the_other(url: str) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(32) as threads:
        stores = list(threads.map(lambda _: stack.enter_context(closing(PostgresqlStore(url))), range(32)))

        def count(store: PostgresqlStore) -> list[int]:
            versions: list[int] = []
            while len(versions) < 5:
                record = store.get([b"counter"])[0]
                value, version = (int(record.value), record.version) if record else (0, ABSENT)
                mine = Batch([Write(b"own/%d" % id(store), b"")])
                results = store.commit([Batch([Write(b"counter", b"%d" % (value + 1), version)]), mine])
                versions += [result.version for result in results[:1] if isinstance(result, Committed)]
                assert isinstance(results[1], Committed)
            return versions

        versions = [version for some in threads.map(count, stores) for version in some]
        assert stores[0].get([b"counter"])[0].value == b"160"
        assert len(set(versions)) == 160, "a version was given twice"


def test_exactly_one_of_many_passes_its_guard(url: str) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(8) as threads:
        stores = [stack.enter_context(closing(PostgresqlStore(url))) for _ in range(8)]
        lease = put(stores[0], b"lease").version
        for _ in range(10):

            def take(store: PostgresqlStore, version: int = lease) -> int:
                try:
                    (result,) = store.commit([Batch([Write(b"lease", b"mine")])], Guard(b"lease", version))
                except Fenced:
                    return 0
                return result.version

            (lease,) = filter(None, threads.map(take, stores))


def test_versions_grow_whoever_is_given_them(url: str) -> None:
    with closing(PostgresqlStore(url)) as one, closing(PostgresqlStore(url)) as two:
        versions = [put(store, b"k").version for store in (one, two, two, one, two)]
        assert all(before < after for before, after in pairwise(versions))


def test_a_coordinator_keeps_its_state_there(url: str, tmp_path: Path) -> None:
    for number in (1, 2):
        arguments = ["--store", url, "--command", "echo=cat"]
        with running_coordinator(tmp_path / str(number), arguments=arguments) as process, process.client() as client:
            assert list(client.map("echo", [{"number": number}])) == [{"number": number}]
            assert len(list(client.list())) == number


# What is wrong from the beginning -------------------------------------------------------------------------------------


def test_a_url_is_shown_without_its_secrets(url: str) -> None:
    with closing(PostgresqlStore(f"{url}&password=hunter2&sslpassword=hunter2".replace("@", ":hunter2@"))) as store:
        assert "hunter2" not in store.url
        assert store.url == url


@pytest.mark.parametrize("password", ["hunter2/x", "12/hunter2", "hunter2%", "12/?hunter2=1", "1/x?host=hunter2"])
def test_a_password_that_breaks_its_url_is_not_shown(password: str) -> None:
    with pytest.raises(StoreUnavailable, match="percent-encoded") as caught:
        open_store(f"postgresql://user:{password}@localhost/db")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [("secured", "wrong", "correct the password"), ("secured", "", "correct the password"), ("nobody", "", "user")],
)
def test_who_is_not_let_in_is_told_what_to_correct(
    postgresql: PostgresqlServer, user: str, password: str, words: str
) -> None:
    with suppress(psycopg.Error):
        postgresql.execute("CREATE ROLE secured LOGIN PASSWORD 'right'")
    url = postgresql.url("postgres", user, **({"password": password} if password else {}))
    with pytest.raises(StoreUnavailable, match=words):
        open_store(url)


def test_a_password_lets_in(postgresql: PostgresqlServer, url: str) -> None:
    with suppress(psycopg.Error):
        postgresql.execute("CREATE ROLE secured LOGIN PASSWORD 'right'")
    with pytest.raises(StoreUnavailable, match=r"permission denied.*grant the role CREATE"):
        open_store(postgresql.url(database_of(url), "secured", password="right"))
    postgresql.execute(f"GRANT CREATE ON DATABASE {database_of(url)} TO secured")
    with closing(PostgresqlStore(postgresql.url(database_of(url), "secured", password="right"))) as store:
        assert isinstance(put(store, b"k"), Committed)


def test_a_database_that_is_missing_is_named(postgresql: PostgresqlServer) -> None:
    with pytest.raises(StoreUnavailable, match=r'"missing" does not exist.*create the database'):
        open_store(postgresql.url("missing"))


def test_a_server_that_is_missing_may_come(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachable):
        open_store(f"postgresql:///x?host={tmp_path}")


def test_a_server_that_takes_no_writes_is_refused(postgresql: PostgresqlServer, url: str) -> None:
    postgresql.execute(f"ALTER DATABASE {database_of(url)} SET default_transaction_read_only = on")
    with pytest.raises(StoreUnavailable, match="name the primary"):
        open_store(url)


def test_a_server_without_sync_is_not_called_durable() -> None:
    with running_postgresql(fsync="off") as server, closing(PostgresqlStore(server.new_database())) as store:
        assert not store.capabilities.durable


def test_a_layout_of_the_future_is_left_alone(postgresql: PostgresqlServer, url: str) -> None:
    PostgresqlStore(url).close()
    postgresql.execute("UPDATE hundredfold.layout SET version = 99", url)
    with pytest.raises(StoreUnavailable, match="layout 99"):
        open_store(url)


def test_a_closed_store_says_so(store: PostgresqlStore) -> None:
    store.close()
    for call in (lambda: store.get([b"k"]), lambda: store.scan(b""), lambda: store.commit([])):
        with pytest.raises(StoreUnavailable, match="it is closed"):
            call()


def test_a_full_disk_can_be_tried_again_later() -> None:
    assert isinstance(explain("postgresql://", psycopg.errors.DiskFull("no space left")), StoreFull)
    assert isinstance(explain("postgresql://", psycopg.errors.IoError("bad disk")), StoreUnavailable)
    assert isinstance(explain("postgresql://", psycopg.errors.TooManyConnections("sorry")), StoreUnreachable)


def test_the_driver_is_named_when_it_is_missing() -> None:
    program = """
import sys
sys.modules["psycopg"] = None
from hundredfold.errors import StoreUnavailable
from hundredfold.stores import hundredfold_store
try:
    hundredfold_store("postgres://user:hunter2@host/db")
except StoreUnavailable as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'hundredfold[postgresql]'" in done.stdout
    assert "hunter2" not in done.stdout
