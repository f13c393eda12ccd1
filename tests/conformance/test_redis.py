"""What a store on a server is asked beyond the kit: its URL, what it needs of the server, and many at once."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from hundredfold.errors import Fenced, StoreFull, StoreUnavailable, StoreUnreachable
from hundredfold.stores import hundredfold_store
from hundredfold.stores.contract import ABSENT, Batch, Committed, Guard, Record, Store, Write
from hundredfold.stores.redis import open_redis
from hundredfold.stores.redis.address import parse_address
from servers.redis import RedisServer, redis_server

WRITERS, INCREMENTS = 32, 8


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """Yield a server that no other test sees."""
    with redis_server() as server:
        yield server


@pytest.fixture
def url(redis: RedisServer, tmp_path: Path) -> str:
    return redis.url(tmp_path.name)


def put(store: Store, key: bytes, value: bytes = b"v") -> int:
    (result,) = store.commit([Batch([Write(key, value)])])
    assert isinstance(result, Committed)
    return result.version


def refusal(url: str) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        open_redis(url)
    return str(caught.value)


# The URL --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown", "namespace"),
    [
        ("redis://host", "redis://host", "hundredfold"),
        ("redis://host:6380/3?namespace=hf", "redis://host:6380/3?namespace=hf", "hf"),
        ("rediss://me:secret@host/0?ssl_ca_certs=/ca.pem", "rediss://host/0", "hundredfold"),
        ("redis://:s%2Fecret@[::1]:7000?socket_timeout=2", "redis://[::1]:7000", "hundredfold"),
        ("redis://host?password=secret&username=me&namespace=a/b", "redis://host?namespace=a/b", "a/b"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2", "hundredfold"),
        ("redis+unix://:secret@/run/redis.sock", "redis+unix:///run/redis.sock", "hundredfold"),
    ],
)
def test_a_url_is_shown_without_secrets(url: str, shown: str, namespace: str) -> None:
    address = parse_address(url)
    assert (address.url, address.namespace) == (shown, namespace)
    assert "secret" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "redis://",
            "redis:secret",
            "redis://host:secret",
            "redis://host/secret",
            "redis://host:0",
            "redis://[secret",
        ),
        *("redis://:sec/ret@host/0", "redis://:sec#ret@host/0", "redis://:sec?ret@host/0", "redis://host/0#secret"),
        *("redis://host?namespace={secret}", "redis://host?namespace=", "redis://host?durable=secret"),
        *("redis://host?secret=1", "redis://host?secret", "redis://host?db=secret", "redis://host?ssl_secret=1"),
        *("unix://secret/x", "unix://", "redis://host?protocol=3", "redis://host?namespace=x%00secret"),
    ],
)
def test_a_url_that_is_wrong_is_refused_and_not_quoted(url: str) -> None:
    problem = refusal(url)
    assert "URL" in problem
    assert "secret" not in problem
    assert "ret@" not in problem


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_the_hook_knows_the_schemes(scheme: str) -> None:
    with pytest.raises(StoreUnreachable, match="refused"):
        hundredfold_store(f"{scheme}://127.0.0.1:1")


def test_the_hook_opens_a_socket_by_either_scheme(url: str) -> None:
    for url_ in (url, f"redis+{url}"):
        store = hundredfold_store(url_)
        assert store is not None
        store.close()


def test_a_driver_that_is_missing_is_named() -> None:
    script = """
import sys
sys.modules["redis"] = None
from hundredfold.stores import hundredfold_store
hundredfold_store("redis://:secret@host")
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert "pip install 'hundredfold[redis]'" in done.stderr.splitlines()[-1]
    assert "secret" not in done.stderr.splitlines()[-1]


def test_namespaces_do_not_see_each_other(redis: RedisServer) -> None:
    with closing(open_redis(redis.url("one"))) as one, closing(open_redis(redis.url("other"))) as other:
        put(one, b"k", b"of one")
        assert (other.get([b"k"]), other.scan(b"")) == ([None], [])
        put(other, b"k", b"of the other")
        assert [record and record.value for record in one.get([b"k"])] == [b"of one"]


def test_databases_do_not_see_each_other(redis: RedisServer) -> None:
    with closing(open_redis(redis.url("n"))) as zero, closing(open_redis(redis.url("n", db=1))) as one:
        put(zero, b"k")
        assert one.get([b"k"]) == [None]


def test_a_database_that_is_not_there_is_refused(redis: RedisServer) -> None:
    assert "no such database" in refusal(redis.url(db=99))


# What the server must be ----------------------------------------------------------------------------------------------


def test_a_server_that_syncs_every_write_is_durable(url: str) -> None:
    with closing(open_redis(url)) as store:
        capabilities = store.capabilities
        assert (capabilities.durable, capabilities.shared, capabilities.vectors) == (True, True, False)


@pytest.mark.parametrize(
    "setting", [("appendfsync", "everysec"), ("appendonly", "no"), ("no-appendfsync-on-rewrite", "yes")]
)
def test_any_other_is_not_whatever_the_url_says(server: RedisServer, setting: tuple[str, str]) -> None:
    server.command("CONFIG", "SET", *setting)
    with closing(open_redis(server.url(durable="true"))) as store:
        assert not store.capabilities.durable


def test_where_the_settings_are_secret_the_operator_can_vouch(server: RedisServer) -> None:
    server.command("ACL", "SETUSER", "hf", "on", ">pw", "~*", "+@all", "-config")
    with closing(open_redis(server.url(username="hf", password="pw"))) as store:
        assert not store.capabilities.durable
    with closing(open_redis(server.url(username="hf", password="pw", durable="true"))) as store:
        assert store.capabilities.durable


def test_one_that_stops_to_be_durable_is_not_used_any_more(server: RedisServer) -> None:
    with closing(open_redis(server.url())) as store:
        put(store, b"k")
        server.command("CONFIG", "SET", "appendfsync", "everysec")
        server.command("CLIENT", "KILL", "TYPE", "normal")
        with pytest.raises(StoreUnavailable, match="was durable when it was opened"):
            put(store, b"k")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_one_that_may_drop_records_is_refused_with_the_cure(server: RedisServer, policy: str) -> None:
    server.command("CONFIG", "SET", "maxmemory-policy", policy)
    problem = refusal(server.url())
    assert policy in problem
    assert "CONFIG SET maxmemory-policy noeviction" in problem


def test_passwords(server: RedisServer) -> None:
    server.command("CONFIG", "SET", "requirepass", "s/e c")
    assert "wants a password" in refusal(server.url())
    assert "password is wrong" in refusal(server.url(password="other"))
    with closing(open_redis(f"unix://:s%2Fe%20c@{server.socket}?namespace=n")) as store:
        assert store.url == f"unix://{server.socket}?namespace=n"
        put(store, b"k")
    with closing(open_redis(server.url(password="s/e c"))) as store:
        put(store, b"k")


def test_a_password_where_there_is_none(redis: RedisServer) -> None:
    assert "leave it out" in refusal(redis.url(password="superfluous"))


RULE = "~{hundredfold}:* -@all +@hash +@sortedset +@string +@scripting +info +config|get"


def test_the_rule_of_the_docs_is_enough(server: RedisServer) -> None:
    assert RULE in (Path(__file__).parents[2] / "docs/store.md").read_text()
    server.command("ACL", "SETUSER", "hf", "on", ">pw", *RULE.split())
    with closing(open_redis(server.url(username="hf", password="pw"))) as store:
        version = put(store, b"k")
        assert store.commit([Batch([Write(b"k", None, version)])], Guard(b"k", version)) == [Committed(version + 1)]
        assert (store.get([b"k"]), store.scan(b""), store.capabilities.durable) == ([None], [], True)
    assert "docs/store.md has the rule" in refusal(server.url("another", username="hf", password="pw"))


def test_keys_of_somebody_else_are_not_touched(server: RedisServer) -> None:
    server.command("SET", "{hundredfold}:records", "precious")
    assert "somebody else uses keys of this namespace" in refusal(server.url())
    assert server.command("GET", "{hundredfold}:records") == b"precious"


def test_a_cluster_is_fine_if_the_node_has_the_namespace() -> None:
    port, bus = free_ports(2)
    with redis_server(cluster_enabled="yes", port=port, cluster_port=bus, bind="127.0.0.1") as server:
        server.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        _until_up(server)
        with closing(open_redis(server.url())) as store:
            put(store, b"k")
            assert [entry.key for entry in store.scan(b"")] == [b"k"]


def free_ports(number: int) -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [str(it.getsockname()[1]) for it in sockets]


def _until_up(server: RedisServer) -> None:
    while b"cluster_state:ok" not in server.command("CLUSTER", "INFO"):
        time.sleep(0.05)  # it waits for two seconds before it trusts itself


# Scripts and connections ----------------------------------------------------------------------------------------------


def test_scripts_that_the_server_has_forgotten_are_loaded_again(redis: RedisServer, url: str) -> None:
    with closing(open_redis(url)) as store:
        put(store, b"k")
        redis.command("SCRIPT", "FLUSH")
        put(store, b"k")
        redis.command("SCRIPT", "FLUSH")
        assert len(store.scan(b"")) == 1


def test_a_connection_that_was_closed_while_idle_is_made_again(server: RedisServer) -> None:
    with closing(open_redis(server.url())) as store:
        for use in (lambda: put(store, b"k"), lambda: store.get([b"k"]), lambda: store.scan(b"")):
            server.command("CLIENT", "KILL", "TYPE", "normal")
            use()


def test_the_driver_waits_no_longer_than_it_should(url: str) -> None:
    with closing(open_redis(url)) as store:
        connection = store._link._connection  # type: ignore[attr-defined]
        assert (connection.socket_connect_timeout, connection.socket_timeout) == (3, 10)
        assert connection.retry.get_retries() == 0


def test_a_closed_store_says_so(url: str) -> None:
    store = open_redis(url)
    store.close()
    for use in (lambda: store.get([]), lambda: store.scan(b""), lambda: store.commit([])):
        with pytest.raises(StoreUnavailable, match="closed"):
            use()


def test_an_empty_key_is_refused(url: str) -> None:
    with closing(open_redis(url)) as store:
        with pytest.raises(ValueError, match="key"):
            put(store, b"")
        assert store.get([b""]) == [None]
        put(store, b"k")


def test_many_keys_are_no_problem(url: str) -> None:
    keys = [b"%05d" % number for number in range(12_000)]
    with closing(open_redis(url)) as store:
        store.commit([Batch([Write(key, b"v") for key in keys])])
        assert [entry.key for entry in store.scan(b"", limit=20_000)] == keys
        assert len(store.get(keys)) == len(keys)
        store.commit([Batch([Write(key, None) for key in keys])])
        assert store.scan(b"") == []


# Room -----------------------------------------------------------------------------------------------------------------


def test_a_full_server_writes_nothing_but_deletes(server: RedisServer) -> None:
    with closing(open_redis(server.url())) as store:
        for number in range(20):
            put(store, b"%02d" % number, bytes(100_000))
        before = store.scan(b"")
        full = int(server.command("INFO", "memory")["used_memory"])
        server.command("CONFIG", "SET", "maxmemory", full - 500_000)
        with pytest.raises(StoreFull):
            store.commit([Batch([Write(b"00", None)]), Batch([Write(b"new", b"v")])])
        assert store.scan(b"") == before
        store.commit([Batch([Write(b"%02d" % number, None) for number in range(20)])])
        put(store, b"new")
        assert [entry.key for entry in store.scan(b"")] == [b"new"]


# Several openers ------------------------------------------------------------------------------------------------------


def test_the_later_opener_fences_the_earlier_one(url: str) -> None:
    with closing(open_redis(url)) as first, closing(open_redis(url)) as second:
        one = Guard(b"lease", put(first, b"lease", b"first"))
        first.commit([Batch([Write(b"k", b"1")])], one)
        other = Guard(b"lease", put(second, b"lease", b"second"))
        with pytest.raises(Fenced):
            first.commit([Batch([Write(b"k", b"2")])], one)
        second.commit([Batch([Write(b"k", b"3")])], other)
        assert [record and record.value for record in first.get([b"k"])] == [b"3"]


def test_nothing_is_lost_between_many_writers(url: str) -> None:
    with closing(open_redis(url)) as store:
        put(store, b"counter", b"0")
        with at_once(WRITERS, lambda: _increment(url)):
            pass
        assert [record and record.value for record in store.get([b"counter"])] == [b"%d" % (WRITERS * INCREMENTS)]
        kept = [entry.record.version for entry in store.scan(b"by/")]
        assert len(set(kept)) == len(kept) == WRITERS * INCREMENTS


def _increment(url: str) -> None:
    with closing(open_redis(url)) as store:
        done = 0
        while done < INCREMENTS:
            (found,) = store.get([b"counter"])
            assert isinstance(found, Record)
            value = b"%d" % (int(found.value) + 1)
            writes = [Write(b"counter", value, found.version), Write(b"by/" + value, b"", ABSENT)]
            (result,) = store.commit([Batch(writes)])
            done += isinstance(result, Committed)


@contextmanager
def at_once(number: int, work: object) -> Iterator[None]:
    failures: list[BaseException] = []

    def noted() -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:  # noqa: BLE001  # it is raised below
            failures.append(error)

    with ExitStack() as threads:
        for _ in range(number):
            thread = threading.Thread(target=noted)
            thread.start()
            threads.callback(thread.join)
        yield
    assert failures == []
