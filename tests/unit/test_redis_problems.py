"""What each error of a server comes to: wait, free room, or change something."""

import pytest
from hundredfold.errors import Fenced, HundredfoldError, StoreFull, StoreUnavailable, StoreUnreachable
from hundredfold.stores.redis.problems import explain
from redis._parsers.base import BaseParser

AOF = "MISCONF Errors writing to the AOF file: "
SNAPSHOT = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk."


@pytest.mark.parametrize(
    ("line", "kind", "told"),
    [
        ("LOADING Redis is loading the dataset in memory", StoreUnreachable, "loading"),
        ("BUSY Redis is busy running a script.", StoreUnreachable, "SCRIPT KILL"),
        ("READONLY You can't write against a read only replica.", StoreUnreachable, "primary"),
        ("MASTERDOWN Link with MASTER is down", StoreUnreachable, "primary"),
        ("CLUSTERDOWN The cluster is down", StoreUnreachable, "cluster"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", StoreUnreachable, "moving"),
        ("ASK 3999 10.0.0.1:6381", StoreUnreachable, "moving"),
        ("NOREPLICAS Not enough good replicas to write.", StoreUnreachable, "min-replicas"),
        ("ERR max number of clients reached", StoreUnreachable, "max number of clients"),
        (SNAPSHOT, StoreUnreachable, "log"),
        (AOF + "Input/output error", StoreUnreachable, "log"),
        (AOF + "No space left on device", StoreFull, ""),
        ("OOM command not allowed when used memory > 'maxmemory'.", StoreFull, ""),
        ("FENCED", Fenced, ""),
        ("NOAUTH Authentication required.", StoreUnavailable, "password"),
        ("WRONGPASS invalid username-password pair or user is disabled.", StoreUnavailable, "wrong"),
        ("NOPERM this user has no permissions", StoreUnavailable, "docs/store.md"),
        ("DENIED Redis is running in protected mode", StoreUnavailable, "protected mode"),
        ("WRONGTYPE Operation against a key", StoreUnavailable, "namespace"),
        ("MOVED 3999 10.0.0.1:6381", StoreUnavailable, "name 10.0.0.1:6381 in the URL"),
        ("ERR DB index is out of range", StoreUnavailable, "database"),
        ("ERR SELECT is not allowed in cluster mode", StoreUnavailable, "database"),
        ("ERR unknown command 'EVALSHA'", StoreUnavailable, "EVALSHA"),
    ],
)
def test_an_error_of_the_server(line: str, kind: type[HundredfoldError], told: str) -> None:
    error = explain(BaseParser.parse_error(line), "redis://host")
    assert type(error) is kind
    assert told in str(error)
