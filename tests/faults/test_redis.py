"""What a store does when its server is away, stopped, killed, emptied or behind, and when answers are lost.

Each test was seen to fail with its protection switched off; a comment says what that was.
"""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hundredfold.errors import Fenced, StoreUnavailable, StoreUnreachable
from hundredfold.stores.contract import ABSENT, Batch, Committed, Conflict, Guard, Store, Write
from hundredfold.stores.redis import open_redis
from servers.proxy import Mischief, Proxy, proxy_to
from servers.redis import RedisServer, redis_server

SHORT = 0.3
"""Seconds a store waits for an answer, where a test has it wait."""

USES: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get([b"k"]),
    "scan": lambda store: store.scan(b""),
    "commit": lambda store: put(store, b"k"),
}


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    """Yield a store that has committed already, so that its script is loaded."""
    with closing(open_redis(server.url(socket_timeout=SHORT))) as store:
        put(store, b"k")
        yield store


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with proxy_to(server.socket) as proxy:
        yield proxy


@pytest.fixture
def behind_proxy(proxy: Proxy) -> Iterator[Store]:
    """Yield a store like the one above, whose server is behind the proxy."""
    with closing(open_redis(f"unix://{proxy.path}?socket_timeout={SHORT}")) as store:
        put(store, b"k")
        yield store


def put(store: Store, key: bytes, value: bytes = b"v") -> int:
    (result,) = store.commit([Batch([Write(key, value)])])
    assert isinstance(result, Committed)
    return result.version


def value(store: Store, key: bytes) -> bytes | None:
    (found,) = store.get([key])
    return found.value if found else None


# Lost answers ---------------------------------------------------------------------------------------------------------


def test_a_commit_whose_answer_was_lost_is_made_once(store: Store, behind_proxy: Store, proxy: Proxy) -> None:
    # Off: the number of a commit in `RedisStore.commit`; the repetition then conflicts with what it wrote itself.
    guard = Guard(b"lease", put(store, b"lease"))
    batches = [Batch([Write(b"new", b"1", ABSENT)]), Batch([Write(b"k", b"", ABSENT)]), Batch([Write(b"x", b"")])]
    proxy.mischief = Mischief.LOSE_ANSWER
    with pytest.raises(StoreUnreachable):
        behind_proxy.commit(batches, guard)
    before = store.scan(b"")
    assert value(store, b"new") == b"1", "it was made"
    put(store, b"lease")  # even so, what was answered once is what is answered
    version = guard.version
    assert behind_proxy.commit(iter(batches), guard) == [Committed(version + 1), Conflict(b"k"), Committed(version + 2)]
    assert [entry for entry in store.scan(b"") if entry.key != b"lease"] == [e for e in before if e.key != b"lease"]
    with pytest.raises(Fenced):
        behind_proxy.commit(batches, guard)


def test_a_commit_that_was_lost_on_its_way_is_made(store: Store, behind_proxy: Store, proxy: Proxy) -> None:
    # Off: the second `send` of what was lost, as if every lost commit had been made.
    proxy.mischief = Mischief.LOSE_REQUEST
    with pytest.raises(StoreUnreachable):
        put(behind_proxy, b"new")
    assert value(store, b"new") is None
    put(behind_proxy, b"new")
    assert value(store, b"new") == b"v"


def test_a_server_is_looked_at_again_over_every_new_connection(
    server: RedisServer, behind_proxy: Store, proxy: Proxy
) -> None:
    # Off: `Link.drop` in `Link.call` and `RedisStore.explain`; redis-py then makes the new connection by itself.
    proxy.mischief = Mischief.LOSE_REQUEST
    with pytest.raises(StoreUnreachable):
        put(behind_proxy, b"k")
    server.command("CONFIG", "SET", "appendfsync", "everysec")
    with pytest.raises(StoreUnavailable, match="was durable when it was opened"):
        put(behind_proxy, b"k")


def test_a_lost_answer_to_a_read_is_read_again(behind_proxy: Store, proxy: Proxy) -> None:
    # Off: what closes a connection after an error, in redis-py and in `Link`.
    for read in (USES["get"], USES["scan"]):
        proxy.mischief = Mischief.LOSE_ANSWER
        with pytest.raises(StoreUnreachable):
            read(behind_proxy)
        read(behind_proxy)


@pytest.mark.parametrize("later", [0, 1, 3], ids="after {} later commits".format)
def test_a_commit_that_arrives_after_its_repetition_is_not_made(
    store: Store, behind_proxy: Store, proxy: Proxy, later: int
) -> None:
    # Off: the comparison of numbers in commit.lua; what came later is then written over.
    proxy.mischief = Mischief.HOLD_REQUEST
    with pytest.raises(StoreUnreachable):
        put(behind_proxy, b"k", b"late")
    proxy.mischief = None
    put(behind_proxy, b"k", b"late")
    for _ in range(later):
        put(behind_proxy, b"k", b"later")
    put(store, b"k", b"of another one")
    before = store.scan(b"")
    assert proxy.release().startswith(b"-STALE" if later else b"$16")
    assert store.scan(b"") == before


def test_a_commit_that_was_given_up_is_not_made_after_the_next_one(
    store: Store, behind_proxy: Store, proxy: Proxy
) -> None:
    # Off: as above.
    proxy.mischief = Mischief.HOLD_REQUEST
    with pytest.raises(StoreUnreachable):
        put(behind_proxy, b"given up")
    proxy.mischief = None
    put(behind_proxy, b"next")
    assert proxy.release().startswith(b"-STALE")
    assert value(store, b"given up") is None


# A server that is away ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_nothing_is_lost_when_the_server_is_killed_and_comes_back(
    server: RedisServer, store: Store, use: Callable[[Store], object]
) -> None:
    # Off: `--appendonly yes` of the server.
    for number in range(50):
        put(store, b"%02d" % number)
    before = store.scan(b"")
    server.kill()
    for _ in range(2):
        with pytest.raises(StoreUnreachable) as caught:
            use(store)
    assert caught.value.retry_seconds > 0
    server.start()
    assert store.scan(b"") == before
    use(store)


def test_a_server_that_was_restarted_meanwhile_is_not_even_noticed(server: RedisServer, store: Store) -> None:
    # Off: the look for an end in `Link._is_stale`.
    server.kill()
    server.start()
    put(store, b"k")


def test_a_server_that_is_away_at_the_beginning_is_waited_for(server: RedisServer) -> None:
    # Off: the order of the cases in `explain`.
    server.kill()
    with pytest.raises(StoreUnreachable):
        open_redis(server.url())
    with pytest.raises(StoreUnreachable):
        open_redis("redis://127.0.0.1:1")
    with pytest.raises(StoreUnreachable):
        open_redis("redis://no.such.host.invalid")


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_server_that_is_stopped_is_given_up_in_time(
    server: RedisServer, store: Store, use: Callable[[Store], object]
) -> None:
    # Off: `socket_timeout`; the test then hangs.
    server.pause()
    for _ in range(2):  # on the old connection, then on a new one
        began = time.monotonic()
        with pytest.raises(StoreUnreachable, match="Timeout"):
            use(store)
        assert time.monotonic() - began < SHORT + 1
    server.resume()
    use(store)
    assert len(store.scan(b"")) == 1


def test_a_stopped_server_makes_a_repeated_commit_once(server: RedisServer, store: Store) -> None:
    # Off: the number of a commit.
    batches = [Batch([Write(b"new", b"", ABSENT)])]
    server.pause()
    for _ in range(2):
        with pytest.raises(StoreUnreachable):
            store.commit(batches)
    server.resume()
    assert isinstance(store.commit(batches)[0], Committed)


# A server that refuses ------------------------------------------------------------------------------------------------


def test_a_server_that_became_a_replica_is_waited_for(server: RedisServer, store: Store) -> None:
    # Off: `READONLY` among what passes.
    server.command("REPLICAOF", "127.0.0.1", "1")
    for _ in range(2):
        with pytest.raises(StoreUnreachable, match="replica"):
            put(store, b"k")
    with pytest.raises(StoreUnreachable, match="replica"):
        open_redis(server.url())
    server.command("REPLICAOF", "NO", "ONE")
    put(store, b"k")


def test_a_failover_is_followed_to_where_the_name_leads(server: RedisServer, behind_proxy: Store, proxy: Proxy) -> None:
    # Off: `Link.drop` in `RedisStore.explain`.
    with redis_server() as successor:
        for key in server.command("KEYS", "*"):
            successor.command("RESTORE", key, 0, server.command("DUMP", key))
        server.command("REPLICAOF", "127.0.0.1", "1")
        proxy.target = successor.socket
        with pytest.raises(StoreUnreachable, match="replica"):
            put(behind_proxy, b"new")
        put(behind_proxy, b"new")
        with closing(open_redis(successor.url())) as store:
            assert value(store, b"new") == b"v"


def test_replicas_that_are_missing_are_waited_for(server: RedisServer, store: Store) -> None:
    # Off: `NOREPLICAS` among what passes.
    server.command("CONFIG", "SET", "min-replicas-to-write", 1)
    with pytest.raises(StoreUnreachable, match="min-replicas-to-write"):
        put(store, b"new")
    server.command("CONFIG", "SET", "min-replicas-to-write", 0)
    assert value(store, b"new") is None
    put(store, b"new")


def test_a_server_that_cannot_save_is_waited_for(tmp_path: Path) -> None:
    # Off: `MISCONF` among what passes.
    home = tmp_path / "home"
    home.mkdir()
    with (
        redis_server(appendonly="no", save="3600 1", dir=str(home)) as server,
        closing(open_redis(server.url())) as store,
    ):
        put(store, b"k")
        shutil.rmtree(home)
        server.command("BGSAVE")
        while server.command("INFO", "persistence")["rdb_last_bgsave_status"] == "ok":
            time.sleep(0.01)
        with pytest.raises(StoreUnreachable, match="cannot save its data"):
            put(store, b"new")
        assert len(store.scan(b"")) == 1


def test_a_server_that_is_busy_is_waited_for(server: RedisServer, store: Store) -> None:
    # Off: `BUSY` among what passes.
    server.command("CONFIG", "SET", "lua-time-limit", 10)
    with closing(socket.socket(socket.AF_UNIX)) as somebody:
        somebody.connect(str(server.socket))
        somebody.sendall(b"EVAL 'while true do end' 0\r\n")
        while "SCRIPT KILL" not in _trouble(store):
            time.sleep(0.01)
        server.command("SCRIPT", "KILL")
        somebody.recv(1000)
    put(store, b"k")


def _trouble(store: Store) -> str:
    try:
        store.get([b"k"])
    except StoreUnreachable as error:
        return str(error)
    return ""


def test_what_is_no_such_server_is_named(tmp_path: Path) -> None:
    # Off: `InvalidResponse` in `explain`, and the `ValueError` in `Link`.
    for words in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$x\r\n"):
        path = tmp_path / f"{len(words)}.sock"
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(path))
            listener.listen()
            talker = threading.Thread(target=_talk, args=(listener, words))
            talker.start()
            with pytest.raises(StoreUnavailable, match="neither Redis nor Valkey"):
                open_redis(f"unix://{path}")
            talker.join()


def _talk(listener: socket.socket, words: bytes) -> None:
    client, _ = listener.accept()
    with client:
        client.recv(1000)
        client.sendall(words)
        client.recv(1000)


# A server that has lost something -------------------------------------------------------------------------------------


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_server_that_comes_back_with_less_is_not_used(
    server: RedisServer, store: Store, use: Callable[[Store], object]
) -> None:
    # Off: the comparison with `_seen` in `RedisStore._note` and in commit.lua.
    size = server.log_size()
    put(store, b"lost")
    server.kill()
    server.cut_log(size)
    server.start()
    with pytest.raises(StoreUnavailable, match="has lost changes that it had acknowledged"):
        use(store)
    for other in USES.values():
        with pytest.raises(StoreUnavailable, match="has lost changes"):
            other(store)
    with closing(open_redis(server.url())) as fresh:
        assert value(fresh, b"lost") is None
        put(fresh, b"k")


def test_a_loss_is_noticed_even_when_others_have_written_as_much_since(server: RedisServer, store: Store) -> None:
    # Off: the comparison with `_answered` in commit.lua; a guard with a version that was given twice then holds.
    size = server.log_size()
    guard = Guard(b"lease", put(store, b"lease", b"mine"))
    server.kill()
    server.cut_log(size)
    server.start()
    with closing(open_redis(server.url())) as other:
        assert put(other, b"lease", b"theirs") == guard.version
        put(other, b"k", b"theirs")
        with pytest.raises(StoreUnavailable, match="has lost changes"):
            store.commit([Batch([Write(b"k", b"mine")])], guard)
        assert value(other, b"k") == b"theirs"


@pytest.mark.usefixtures("store")
def test_a_loss_is_noticed_by_who_has_only_read(server: RedisServer) -> None:
    # Off: the comparison with the highest version seen, in commit.lua.
    with closing(open_redis(server.url())) as reader:
        USES["scan"](reader)
        server.command("FLUSHALL")
        with pytest.raises(StoreUnavailable, match="has lost changes"):
            put(reader, b"k")
    assert server.command("KEYS", "*") == []


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("command", [("FLUSHALL",), ("DEL", "{hundredfold}:records")], ids="_".join)
def test_a_server_that_was_emptied_is_not_used(
    server: RedisServer, store: Store, use: Callable[[Store], object], command: tuple[str, ...]
) -> None:
    # Off: as in the first of these.
    server.command(*command)
    with pytest.raises(StoreUnavailable, match=r"has lost changes|do not fit"):
        use(store)


@pytest.mark.parametrize("use", [USES["scan"], USES["commit"]], ids=["scan", "commit"])
@pytest.mark.parametrize(
    "command",
    [("DEL", "{hundredfold}:order"), ("ZREM", "{hundredfold}:order", "k"), ("HDEL", "{hundredfold}:records", "k")],
    ids="_".join,
)
def test_records_that_somebody_has_taken_away_are_missed(
    server: RedisServer, store: Store, use: Callable[[Store], object], command: tuple[str, ...]
) -> None:
    # Off: the comparison of sizes in both scripts.
    server.command(*command)
    with pytest.raises(StoreUnavailable, match="do not fit together"):
        use(store)


def test_an_opener_may_be_idle_for_longer_than_its_answer_is_kept(server: RedisServer, store: Store) -> None:
    # Off: `RedisStore._last_answered`.
    (answer,) = server.command("KEYS", "*:opener:*")
    assert 0 < server.command("TTL", answer) <= 7 * 86400
    server.command("DEL", answer)
    store._answered_at -= 2 * 86400  # type: ignore[attr-defined]
    put(store, b"k")
