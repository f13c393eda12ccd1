"""What the disk can do to a coordinator, and what a coordinator does then.

Each test was seen to fail with its protection switched off; a comment says what that was.
"""

import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hundredfold import Item, Remembered, SyncClient
from hundredfold.client.submission import result_of
from hundredfold.errors import HundredfoldError, StoreFull
from hundredfold.internal.v1 import records_pb2
from hundredfold.stores.contract import Batch, Write
from hundredfold.stores.sqlite import SqliteStore
from hundredfold.testing.coordinator import READY, CoordinatorProcess, eventually
from hundredfold.v1 import task_pb2
from storage_tools import AGENTS, Serve, needs_root, second, small_disk

MIB = 1 << 20
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def refused(client: SyncClient) -> bool:
    """Whether a submission is refused for want of room."""
    try:
        client.submit("say", {"number": 1})
    except StoreFull:
        return True
    return False


def all_run(client: SyncClient, tasks: Sequence[task_pb2.Task]) -> bool:
    return all(client.get(task.id).state == task_pb2.TASK_STATE_RUNNING for task in tasks)


def value(task: task_pb2.Task) -> Any:
    return result_of(task)


# S1: disk full --------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(data_dir: Path) -> Iterator[Path]:
    with small_disk(data_dir, 48 * MIB):
        yield data_dir


@needs_root
def test_a_full_disk_ends_submissions_and_not_what_runs(disk: Path, serve: Serve, tmp_path: Path) -> None:
    # Off: `--ballast-bytes 0`, and the results wait for ever; `state.store_full` unread, and the queue grows on.
    process = serve("--ballast-bytes", str(16 * MIB))
    with process.client() as client:
        running = [client.submit("hold_back", {"path": str(tmp_path / "go"), "size": MIB}) for _ in range(4)]
        eventually(lambda: all_run(client, running), what="starting")
        fill(disk / "filler")
        accepted: list[task_pb2.Task] = []  # the first ones may find room in the log
        with suppress(StoreFull):
            accepted.extend(client.submit("say", {"number": number}) for number in range(50))
        assert len(accepted) < 50
        assert not (disk / "ballast").exists()
        (tmp_path / "go").touch()
        for task in running:
            assert len(value(client.wait(task.id, timeout_seconds=20))["text"]) == MIB
        assert refused(client), "the disk is as full as before"
        (disk / "filler").unlink()
        eventually(lambda: not refused(client), what="recovering")
        assert (disk / "ballast").stat().st_blocks * 512 >= 16 * MIB
        assert [value(client.wait(task.id, timeout_seconds=20)) for task in accepted] == list(range(len(accepted)))


def write_to_a_session(client: SyncClient, number: int) -> None:
    client.sessions.commit("s", [Item("user", f"{number:08}" * (3 * MIB // 8))])


def write_to_a_collection(client: SyncClient, number: int) -> None:
    client.memory.write("c", [Remembered(str(number), [1.0], f"{number:08}" * (3 * MIB // 8))])


@needs_root
@pytest.mark.parametrize("write", [write_to_a_session, write_to_a_collection])
def test_what_clients_write_to_memory_takes_no_room_from_results(
    write: Callable[[SyncClient, int], None], disk: Path, serve: Serve, tmp_path: Path
) -> None:
    # Off: `door.shut` that is always open, and client writes eat the ballast: no result finds room.
    process = serve("--ballast-bytes", str(12 * MIB))
    with process.client() as client:
        client.memory.create("c", 1)
        running = [client.submit("hold_back", {"path": str(tmp_path / "go"), "size": MIB}) for _ in range(4)]
        eventually(lambda: all_run(client, running), what="starting")
        fill(disk / "filler")
        with pytest.raises(StoreFull):
            list(map(partial(write, client), range(8)))
        (tmp_path / "go").touch()
        for task in running:
            assert len(value(client.wait(task.id, timeout_seconds=20))["text"]) == MIB
        with pytest.raises(StoreFull):
            write(client, 9)
        client.memory.write("c", delete=["0"])
        client.memory.delete("c")


@needs_root
def test_without_any_room_it_waits_and_loses_nothing(disk: Path, serve: Serve, tmp_path: Path) -> None:
    # Off: `Storage` without a `Room`, and the coordinator ends at the first commit; without `Room.give_up`, it never
    # ends at SIGTERM.
    process = serve("--drain-seconds", "1", "--grace-seconds", "1")
    with process.client() as client:
        before = client.submit("hold_back", {"path": str(tmp_path / "go"), "size": MIB})
        eventually(lambda: all_run(client, [before]), what="starting")
        fill(disk / "filler")
        (tmp_path / "go").touch()
        eventually(lambda: "the store is full" in process.log, what="noticing")
        assert refused(client)
        assert client.get(before.id).state == task_pb2.TASK_STATE_RUNNING, "reads go on, and tell what is durable"
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    (disk / "filler").unlink()
    process = serve()
    with process.client() as client:
        assert len(value(client.wait(before.id, timeout_seconds=20))["text"]) == MIB


# S2: errors of write and sync -----------------------------------------------------------------------------------------


@contextmanager
def injecting(process: CoordinatorProcess, fault: str, trace: Path) -> Iterator[None]:
    """Have the kernel treat a coordinator as strace(1) describes a fault, and trace what it does to files."""
    argv = ["/usr/bin/env", "strace", "-f", "-y", "-e", "trace=pwrite64,fdatasync,fsync,ftruncate,unlink"]
    argv += ["-e", f"inject={fault}", "-o", str(trace), "-p", str(process.pid)]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as strace:
        status = Path(f"/proc/{process.pid}/status")
        eventually(lambda: "TracerPid:\t0" not in status.read_text(), what="attaching strace")
        try:
            yield
        finally:
            strace.terminate()


@needs_strace
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_a_failed_write_or_sync_ends_it_at_once(call: str, serve: Serve, tmp_path: Path) -> None:
    # Off: `Storage` without `fail_stop`, and the store is closed on the way out: written, synced and unlinked.
    process = serve()
    with process.client() as client:
        before = client.submit("hold_back", {"path": str(tmp_path / "go")})
        eventually(lambda: all_run(client, [before]), what="starting")
        (pid,) = (worker.pid for worker in client.workers())
        with injecting(process, f"{call}:error=EIO", tmp_path / "trace"):
            with pytest.raises(HundredfoldError, match="No coordinator answers"):
                client.submit("say", {"number": 1}, request_id="lost")
            assert process.wait() == 3
    assert "[STORE_UNAVAILABLE]" in process.log
    lines = (tmp_path / "trace").read_text().splitlines()
    failed = next(index for index, line in enumerate(lines) if "(INJECTED)" in line)
    touched = [line for line in lines[failed + 1 :] if re.search(r"(pwrite64|sync|ftruncate|unlink)\(.*data/", line)]
    assert touched == [], "nothing may be done to the store after that"
    process = serve()
    with process.client() as client:
        (tmp_path / "go").touch()
        ended = client.wait(before.id, timeout_seconds=20)
        assert (value(ended)["pid"], len(ended.attempts)) == (pid, 1), "agents live through it"
        client.submit("say", {"number": 1}, request_id="lost")
        assert len({task.id for task in client.list(behaviour="say")}) == 1


# S6: a store that is slow ---------------------------------------------------------------------------------------------


@needs_strace
def test_a_slow_store_delays_what_it_has_to_record_and_nothing_else(serve: Serve, tmp_path: Path) -> None:
    # Off: a store without a thread of its own, and every answer waits for the disk.
    process = serve()
    with process.client() as client, injecting(process, "fdatasync:delay_enter=500ms", tmp_path / "trace"):
        with ThreadPoolExecutor(1) as pool:
            begin = time.monotonic()
            submission = pool.submit(client.submit, "say", {"number": 1})
            slowest = 0.0
            while not submission.done():
                asked = time.monotonic()
                assert client.status().pid == process.pid
                slowest = max(slowest, time.monotonic() - asked)
        assert time.monotonic() - begin >= 0.5, "it is answered when it is durable"
        assert slowest < 0.3
        assert value(client.wait(submission.result().id, timeout_seconds=30)) == 1


# C11, C12: two coordinators, and what one has left behind -------------------------------------------------------------


def read_until(process: "subprocess.Popen[str]", words: str) -> str:
    assert process.stderr
    text = ""
    while words not in text:
        line = process.stderr.readline()
        assert line, f"{words!r} was not said: {text}"
        text += line
    return text


def test_a_second_coordinator_names_the_first_and_ends(data_dir: Path, serve: Serve) -> None:
    # Off: `DataDirectoryLock.acquire` that goes on when the lock is taken.
    first = serve()
    with second(data_dir) as late:
        _, told = late.communicate(timeout=20)
    assert late.returncode == 5
    assert f"the coordinator with pid {first.pid}" in told
    with first.client() as client:
        assert value(client.wait(client.submit("say", {"number": 1}).id)) == 1, "the first one has kept its sockets"


def test_a_standby_takes_over_what_a_killed_one_has_left(data_dir: Path, serve: Serve, tmp_path: Path) -> None:
    # Off: `standby` unread in `Daemon.run`.
    first = serve()
    with first.client() as client:
        task = client.submit("hold_back", {"path": str(tmp_path / "go")})
        eventually(lambda: all_run(client, [task]), what="starting")
    with second(data_dir, "--standby", "--plugin", str(AGENTS)) as standby:
        read_until(standby, f"the coordinator with pid {first.pid}")
        first.signal(signal.SIGKILL)
        first.wait()
        began = time.monotonic()
        read_until(standby, READY)
        assert time.monotonic() - began < 5
        (tmp_path / "go").touch()
        with first.client() as client:
            ended = client.wait(task.id, timeout_seconds=20)
            assert len(ended.attempts) == 1, "its agents are taken over, too"
        standby.terminate()
        assert standby.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_standby_ends_at_once_when_it_is_told_to(number: signal.Signals, data_dir: Path, serve: Serve) -> None:
    # Off: a blocking flock, which Ctrl-C does not end.
    first = serve()
    with second(data_dir, "--standby") as standby:
        read_until(standby, "standing by")
        standby.send_signal(number)
        assert standby.wait(2) == 0
    with first.client() as client:
        assert client.status().pid == first.pid


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is nobody's business."""
    with subprocess.Popen(["/usr/bin/env", "sleep", "60"]) as process:
        yield process
        process.kill()


def test_what_a_dead_one_has_left_is_no_hindrance(
    data_dir: Path, serve: Serve, stranger: "subprocess.Popen[bytes]"
) -> None:
    # Off: a `DataDirectoryLock` that kills the pid in its file, as pid files invite one to; `bind` without `unlink`.
    data_dir.mkdir(mode=0o700)
    (data_dir / "lock").write_text(f"{stranger.pid}\n")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(data_dir / "api.sock"))
    (data_dir / "worker.sock").write_text("not even a socket")
    process = serve()
    with process.client() as client:
        assert value(client.wait(client.submit("say", {"number": 7}).id)) == 7
    assert (data_dir / "lock").read_text() == f"{process.pid}\n"
    process.stop()
    assert stranger.poll() is None, "it was signalled"


def test_a_stranger_with_the_pid_of_a_dead_host_is_not_signalled(
    data_dir: Path, serve: Serve, stranger: "subprocess.Popen[bytes]"
) -> None:
    # Off: `open_process` that compares neither start time nor boot; the stranger is taken for a host, and killed as one
    # that is silent or has to go.
    process = serve()
    process.stop()
    record = records_pb2.HostRecord(host_id="host-stale", secret_hash=bytes(32), version="0")
    record.process.CopyFrom(records_pb2.ProcessIdentity(pid=stranger.pid, start_ticks=1, boot_id="another"))
    with closing(SqliteStore(data_dir / "hundredfold.db")) as store:
        store.commit([Batch([Write(b"host/host-stale", record.SerializeToString())])])
    process = serve()
    with process.client() as client:
        assert value(client.wait(client.submit("say", {"number": 7}).id)) == 7
        assert "host-stale" not in {host.id for host in client.hosts()}
    process.stop()
    assert stranger.poll() is None, "it was signalled"


# S7: the reply lost after the commit ----------------------------------------------------------------------------------


def test_a_submission_whose_answer_was_lost_can_be_repeated(serve: Serve) -> None:
    # Off: `submission._known_request` that knows none, and there are more tasks than requests.
    accepted: dict[int, str] = {}
    for number in range(6):
        process = serve()
        with process.client() as client, suppress(HundredfoldError):
            # Killed at any moment from before the commit to behind the answer.
            killer = threading.Timer(number * 0.001, process.signal, (signal.SIGKILL,))
            killer.start()
            accepted[number] = client.submit("say", {"number": number}, request_id=f"r{number}").id
        killer.join()
        process.wait()
    with serve().client() as client:
        for number in range(6):
            again = client.submit("say", {"number": number}, request_id=f"r{number}")
            assert again.id == accepted.get(number, again.id)
            assert value(client.wait(again.id, timeout_seconds=20)) == number
        assert len(list(client.list(behaviour="say"))) == 6
