"""Looking after the store: while a coordinator serves and writes, and on the file when there is none."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hundredfold import SyncClient
from hundredfold.errors import BackupFailed, PermissionDenied, StoreCannot, Unauthenticated
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.coordinator import CoordinatorProcess, eventually

AGENTS = Path(__file__).with_name("agents.py")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CoordinatorProcess]:
    process = CoordinatorProcess(tmp_path_factory.mktemp("data"), ["--plugin", str(AGENTS), "--listen", "127.0.0.1:0"])
    yield process
    process.stop()


@pytest.fixture
def client(served: CoordinatorProcess) -> Iterator[SyncClient]:
    with served.client() as client:
        yield client


@pytest.fixture
def writing(served: CoordinatorProcess) -> Iterator[list[str]]:
    """Tasks, one after the other, for as long as the test runs; those that were accepted are in the list."""
    accepted: list[str] = []
    done = threading.Event()

    def write() -> None:
        with served.client() as client:
            while not done.is_set():
                accepted.append(client.submit("square", {"number": len(accepted)}).id)

    thread = threading.Thread(target=write)
    thread.start()
    eventually(lambda: accepted, what="the first task")
    yield accepted
    done.set()
    thread.join()


def run(data_dir: Path, *arguments: str, code: int = 0) -> str:
    argv = [sys.executable, "-m", "hundredfold_coordinator", "store", *arguments, "--data-dir", str(data_dir)]
    environment = {key: text for key, text in os.environ.items() if not key.startswith(("HUNDREDFOLD_", "XDG_"))}
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_a_store_in_use_is_in_order(client: SyncClient, writing: list[str]) -> None:
    for _ in range(3):
        found = client.check_store()
        assert list(found.problems) == []
    assert {count.kind for count in found.counts} >= {"task", "live", "event", "host", "lease"} - {"live"}
    assert writing


def test_a_backup_has_all_that_was_acknowledged_before(client: SyncClient, writing: list[str], tmp_path: Path) -> None:
    for number in range(3):
        while len(writing) < 20 * (number + 1):
            pass
        before = list(writing)
        made = client.back_up_store(tmp_path / f"{number}.db")
        path = Path(made.path)
        assert (path.stat().st_size, path.stat().st_mode & 0o777) == (made.size_bytes, 0o600)
        with closing(SqliteStore(path)) as copy:
            assert None not in copy.get([b"task/" + task_id.encode() for task_id in before])
            assert copy.check() == []
    assert {path.suffix for path in tmp_path.iterdir()} == {".db", ".db-mark"}


def test_a_backup_replaces_nothing(client: SyncClient, tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.write_text("something dear")
    with pytest.raises(BackupFailed, match="File exists"):
        client.back_up_store(path)
    with pytest.raises(BackupFailed, match="No such file"):
        client.back_up_store(tmp_path / "missing" / "x")
    assert path.read_text() == "something dear"
    assert list(tmp_path.iterdir()) == [path]


def test_a_backup_is_made_over_the_local_socket_only(served: CoordinatorProcess, tmp_path: Path) -> None:
    address = next(word for word in served.log.split() if word.startswith("127.0.0.1:"))
    token = (served.data_dir / "token").read_text().strip()
    with SyncClient(address, token=token) as remote:
        with pytest.raises(PermissionDenied):
            remote.back_up_store(tmp_path / "x")
        assert remote.check_store().problem_count == 0
    with SyncClient(address, token="wrong") as stranger, pytest.raises(Unauthenticated):
        list(stranger.export_store())


def test_an_export_has_every_task(client: SyncClient, served: CoordinatorProcess) -> None:
    task = client.submit("square", {"number": 12})
    client.wait(task.id)
    rows = [json.loads(line) for line in run(served.data_dir, "export").splitlines()]
    by_key: dict[str, Any] = {row["key"]: row["value"] for row in rows}
    assert by_key[f"task/{task.id}"]["task"]["state"] == "TASK_STATE_SUCCEEDED"
    assert f"event/{task.id}/1" in by_key
    assert f"result/{task.id}" in by_key


def test_the_command_does_the_same_with_a_coordinator_and_without(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    process = CoordinatorProcess(data_dir, ["--plugin", str(AGENTS)])
    with process.client() as client:
        task = client.submit("square", {"number": 3})
        client.wait(task.id)
    found = []
    for name in ("served", "alone"):
        counts = json.loads(run(data_dir, "check", "-o", "json"))["counts"]
        made = json.loads(run(data_dir, "backup", str(tmp_path / name), "-o", "json"))
        run(data_dir, "export", "--output", str(tmp_path / f"{name}.jsonl"))
        lines = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        assert (tmp_path / f"{name}.jsonl").stat().st_mode & 0o077 == 0
        assert made["path"] == str(tmp_path / name)
        found.append(({one["kind"]: one["count"] for one in counts} | {"host": "0"}, len(lines)))
        run(data_dir, "accept-loss", code=5 if name == "served" else 0)
        process.stop()
    assert found[0][0] == found[1][0]
    assert found[0][1] == found[1][1] + 1, "a host is gone"


def test_damage_between_records_is_told(tmp_path: Path) -> None:
    from hundredfold.stores.contract import Batch, Write

    with closing(SqliteStore(tmp_path / "hundredfold.db")) as store:
        store.commit([Batch([Write(b"live/nobody", b"")])])
    told = run(tmp_path, "check", code=1)
    assert "live/nobody is there without task/nobody" in told


def test_a_store_that_cannot_be_copied_says_so(tmp_path: Path) -> None:
    process = CoordinatorProcess(tmp_path / "data", ["--store", "memory:", "--volatile"])
    with process.client() as client:
        with pytest.raises(StoreCannot, match="memory:"):
            client.back_up_store(tmp_path / "x")
        assert client.check_store().problem_count == 0
    process.stop()
