"""Proves the store by the kits, and runs a coordinator on it."""

from pathlib import Path

import pytest
from hundredfold.client import result_of
from hundredfold.errors import StoreUnavailable
from hundredfold.stores.contract import Batch, Store, Write
from hundredfold.testing.concurrency import ConcurrentStoreConformance
from hundredfold.testing.coordinator import running_coordinator
from hundredfold.testing.store import StoreConformance
from hundredfold_logstore.store import LogStore


class TestLogStore(StoreConformance, ConcurrentStoreConformance):
    def open(self, directory: Path) -> Store:
        return LogStore(directory / "log")


def test_half_a_line_is_no_line(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "log")
    store.commit([Batch([Write(b"a", b"1")])])
    store.close()
    with (tmp_path / "log").open("ab") as log:
        log.write(b'[[["Yg==", "M')
    store = LogStore(tmp_path / "log")
    assert [entry.key for entry in store.scan(b"")] == [b"a"]
    store.close()


def test_a_second_opener_is_kept_out(tmp_path: Path) -> None:
    store = LogStore(tmp_path / "log")
    with pytest.raises(StoreUnavailable, match="another process has it open"):
        LogStore(tmp_path / "log")
    store.close()


def test_a_coordinator_runs_on_it_and_finds_it_again(tmp_path: Path) -> None:
    plugin = tmp_path / "agents.py"
    plugin.write_text("from hundredfold import behaviour\n@behaviour\ndef double(n: int) -> int:\n    return 2 * n\n")
    arguments = ["--store", f"log:{tmp_path}/log"]
    with running_coordinator(tmp_path / "data", plugins=[plugin], arguments=arguments) as one, one.client() as client:
        task_id = client.submit("double", {"n": 21}).id
        assert result_of(client.wait(task_id)) == 42
    with running_coordinator(tmp_path / "data", plugins=[plugin], arguments=arguments) as two, two.client() as client:
        assert result_of(client.get(task_id)) == 42
