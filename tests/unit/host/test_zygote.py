"""Shows how an environment goes on when its zygotes do not: restarts, budgets, forks that were never answered."""

import asyncio
import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hundredfold.internal.v1 import host_service_pb2, zygote_pb2
from hundredfold.v1 import behaviour_pb2
from hundredfold_host import zygote, zygote_process
from hundredfold_host.containment.session import Session
from hundredfold_host.worker import Worker
from hundredfold_host.zygote import Zygote
from hundredfold_host.zygote_process import ZygoteProcess

STARTING, READY, FAILED = (
    behaviour_pb2.ENVIRONMENT_STATE_STARTING,
    behaviour_pb2.ENVIRONMENT_STATE_READY,
    behaviour_pb2.ENVIRONMENT_STATE_FAILED,
)


class FakeProcess:
    """A zygote's process that does what a test says; `made` are all there were."""

    made: list["FakeProcess"]
    pids = itertools.count(1_000_000_000)  # above any that a kernel gives

    def __init__(
        self, _preload: Any, on_reply: Callable[[Any, list[int]], None], on_end: Callable[[int], None]
    ) -> None:
        self.pid = next(self.pids)
        self.last_words = "last words"
        self.asked: list[str] = []
        self.gone = ""
        self._on_reply = on_reply
        self.die = on_end
        self.made.append(self)

    def ask(self, request: zygote_pb2.ZygoteRequest, descriptors: list[int] | None = None) -> None:
        for descriptor in descriptors or []:
            os.close(descriptor)
        kind = request.WhichOneof("kind")
        assert kind
        self.asked.append(request.fork.attempt.task_id if kind == "fork" else f"{kind} {request.reap.pid}")

    def stop(self) -> None:
        self.gone = "stopped"

    def let_go(self) -> None:
        self.gone = "let go"

    def get_ready(self, *, single_use: bool = False) -> None:
        self._on_reply(zygote_pb2.ZygoteReply(ready=zygote_pb2.Ready(single_use=single_use)), [_manifest()])

    def reply(self, **kind: Any) -> None:
        self._on_reply(zygote_pb2.ZygoteReply(**kind), [])


def _manifest() -> int:
    descriptor = os.memfd_create("manifest")
    os.write(descriptor, behaviour_pb2.Environment(name="e", state=READY).SerializeToString())
    return descriptor


@dataclass
class Told:
    """What a host was told."""

    states: list[int] = field(default_factory=list)
    failed: list[tuple[str, str, bool]] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    reaped: list[Worker] = field(default_factory=list)
    failed_at_deaths: list[int] = field(default_factory=list)

    def environment_changed(self, environment: behaviour_pb2.Environment) -> None:
        self.states.append(environment.state)

    def launched(self, worker: Worker) -> None:
        self.workers.append(worker)

    def launch_failed(self, key: host_service_pb2.AttemptKey, reason: str, *, transient: bool = False) -> None:
        self.failed.append((key.task_id, reason, transient))

    def worker_exited(self, worker: Worker) -> None:
        """Not of interest."""

    def worker_reaped(self, worker: Worker) -> None:
        self.reaped.append(worker)

    def zygote_died(self) -> None:
        self.failed_at_deaths.append(len(self.failed))


@pytest.fixture
def told() -> Told:
    """A host that listens."""
    return Told()


@pytest.fixture
async def environment(monkeypatch: pytest.MonkeyPatch, told: Told) -> Zygote:
    """A zygote with processes that do what a test says."""
    FakeProcess.made = []
    monkeypatch.setattr(zygote, "ZygoteProcess", FakeProcess)
    return Zygote(zygote_pb2.Preload(environment="e"), Session(), told, None)


@pytest.fixture
def child() -> Iterator[int]:
    """A process to be taken for a worker."""
    pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def launch(task_id: str) -> host_service_pb2.Launch:
    return host_service_pb2.Launch(attempt=host_service_pb2.AttemptKey(task_id=task_id, number=1), credential="c")


def newest() -> FakeProcess:
    return FakeProcess.made[-1]


async def test_launches_wait_until_the_environment_is_ready(environment: Zygote) -> None:
    environment.launch(launch("t1"))
    assert newest().asked == []
    newest().get_ready()
    assert newest().asked == ["t1"]
    environment.launch(launch("t1"))
    assert newest().asked == ["t1"], "once"
    newest().die(0)


async def test_an_import_that_ends_the_process_fails_the_environment(environment: Zygote, told: Told) -> None:
    environment.launch(launch("t1"))
    newest().die(3)
    assert told.states == [STARTING, FAILED]
    assert "exit code 3\nlast words" in environment.environment.error
    ((task, reason, transient),) = told.failed
    assert (task, transient) == ("t1", False)
    assert "cannot run" in reason
    assert len(FakeProcess.made) == 1


async def test_a_death_costs_what_was_being_forked_and_nothing_else(environment: Zygote, told: Told) -> None:
    newest().get_ready()
    environment.launch(launch("t1"))
    newest().die(-signal.SIGKILL)
    environment.launch(launch("t2"))
    await asyncio.sleep(0.01)
    assert told.failed == [("t1", "its zygote died while it was forking", False)]
    assert told.failed_at_deaths == [0], "what it made without a word is killed before anybody launches again"
    assert len(FakeProcess.made) == 2
    newest().get_ready()
    assert newest().asked == ["t2"]
    newest().die(0)


async def test_one_that_keeps_dying_waits_and_comes_back(monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    FakeProcess.made = []
    monkeypatch.setattr(zygote, "ZygoteProcess", FakeProcess)
    monkeypatch.setattr(zygote, "_RESTARTS", 2)
    monkeypatch.setattr(zygote, "_RESTART_PERIOD_SECONDS", 0.3)
    environment = Zygote(zygote_pb2.Preload(environment="e"), Session(), told, None)
    for _ in range(3):
        newest().get_ready()
        newest().die(-signal.SIGSEGV)
        await asyncio.sleep(0.01)
    assert len(FakeProcess.made) == 3, "two restarts"
    assert environment.environment.state == STARTING
    assert "dies too often, this time with signal 11" in environment.environment.warning
    environment.launch(launch("t1"))
    assert len(FakeProcess.made) == 3, "a launch does not hurry it"
    await asyncio.sleep(0.4)
    assert len(FakeProcess.made) == 4
    newest().get_ready()
    assert newest().asked == ["t1"]
    assert not environment.environment.warning
    assert told.failed == []


async def test_one_that_waits_for_its_budget_can_be_stopped(environment: Zygote) -> None:
    newest().get_ready()
    newest().die(0)
    environment.stop()
    await asyncio.sleep(0.01)
    assert environment.resting
    assert len(FakeProcess.made) == 1


async def test_a_process_that_becomes_a_worker_is_followed_by_another(
    environment: Zygote, told: Told, child: int
) -> None:
    first = newest()
    first.get_ready(single_use=True)
    environment.launch(launch("t1"))
    environment.launch(launch("t2"))
    assert first.asked == ["t1"], "one for each"
    first.pid = child
    first.reply(forked=zygote_pb2.Forked(attempt=launch("t1").attempt, pid=child))
    assert first.gone == "let go"
    assert [worker.pid for worker in told.workers] == [child]
    assert environment.environment.state == READY
    newest().get_ready(single_use=True)
    assert newest().asked == ["t2"]
    newest().die(0)
    _release(told.workers[0])


async def test_a_worker_is_reaped_by_its_own_zygote_only(environment: Zygote, told: Told, child: int) -> None:
    newest().get_ready()
    environment.launch(launch("t1"))
    newest().reply(forked=zygote_pb2.Forked(attempt=launch("t1").attempt, pid=child))
    (worker,) = told.workers
    environment.reap(worker)
    assert newest().asked == ["t1", f"reap {child}"]
    newest().reply(reaped=zygote_pb2.Reaped(pid=child, status=9))
    assert (told.reaped, worker.exit.status) == ([worker], 9)
    _release(worker)


def _release(worker: Worker) -> None:
    """Let go of a worker that a test does not run to its end."""
    asyncio.get_running_loop().remove_reader(worker._pidfd)
    os.close(worker._pidfd)
    worker.close()


# A real process -------------------------------------------------------------------------------------------------------


async def test_a_process_that_does_not_answer_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    script.chmod(0o700)
    monkeypatch.setattr(zygote_process, "IMPORT_SECONDS", 0.1)
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    spec = behaviour_pb2.EnvironmentSpec(python=str(script))
    ZygoteProcess(zygote_pb2.Preload(environment="e", spec=spec), lambda *_: None, ended.set_result)
    assert await asyncio.wait_for(ended, 5) == -signal.SIGKILL


async def test_a_process_that_is_let_go_is_reaped_by_nobody_else(tmp_path: Path) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nexit 7\n")
    script.chmod(0o700)
    spec = behaviour_pb2.EnvironmentSpec(python=str(script))
    process = ZygoteProcess(zygote_pb2.Preload(environment="e", spec=spec), lambda *_: None, lambda _: None)
    pid = process.pid
    process.let_go()
    del process
    assert _exit_code(pid) == 7


def _exit_code(pid: int) -> int:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with subprocess.Popen(["/bin/true"]):
        pass  # which is when `subprocess` reaps what it has been left with
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
