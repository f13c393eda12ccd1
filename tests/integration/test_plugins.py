"""Plugins that are good, plugins that are broken in every way, and programs as behaviours."""

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from hundredfold import SyncClient
from hundredfold.client import result_of
from hundredfold.errors import BrokenEnvironment, BrokenPlugin, InvalidArgument, UnknownBehaviour
from hundredfold.testing.coordinator import CoordinatorProcess, eventually, running_coordinator
from hundredfold.v1 import behaviour_pb2, task_pb2

Start = Callable[..., CoordinatorProcess]


def spec_of(path: Path, source: str) -> behaviour_pb2.EnvironmentSpec:
    path.write_text("from hundredfold import behaviour, hookimpl\n" + source)
    return behaviour_pb2.EnvironmentSpec(plugin_files=[str(path)])


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("import no_such_module", "ModuleNotFoundError"),
        ("raise SystemExit('enough')", "SystemExit: enough"),
        ("def broken(:", "SyntaxError"),
        ("@hookimpl\ndef hundredfold_behaviour(commands): return []", "hundredfold_behaviour"),
        ("@hookimpl\ndef hundredfold_behaviours(commands): return [3]", "int, not a Behaviour"),
        ("@hookimpl\ndef hundredfold_behaviours(commands): raise KeyError('gone')", "KeyError: 'gone'"),
        ("@behaviour\ndef taken(*values): return 1", "cannot be given by name"),
        ("@behaviour(name='No')\ndef named(): return 1", "must match"),
    ],
)
def test_a_broken_plugin_is_named_with_its_problem(
    client: SyncClient, tmp_path: Path, source: str, problem: str
) -> None:
    with pytest.raises((BrokenPlugin, BrokenEnvironment)) as caught:
        client.open_environment(spec_of(tmp_path / "broken.py", source))
    assert problem in str(caught.value)


def test_a_plugin_that_starts_a_thread_runs_with_it_and_is_told_why_that_is_slow(
    client: SyncClient, tmp_path: Path
) -> None:
    source = """
import os, threading
threading.Thread(target=threading.Event().wait, name="early", daemon=True).start()
@behaviour
def threads() -> list:
    return [os.getpid(), *(thread.name for thread in threading.enumerate())]
"""
    environment = client.open_environment(spec_of(tmp_path / "threaded.py", source))
    assert "threads at import" in environment.warning
    tasks = [client.submit("threads", environment=environment.name).id for _ in range(3)]
    results = [result_of(client.wait(task)) for task in tasks]
    assert all("early" in names for _, *names in results), "a fork would not have it"
    assert len({pid for pid, *_ in results}) == 3


@pytest.mark.parametrize("source", ["import os; os._exit(3)", "import os; os.kill(os.getpid(), 11)"])
def test_a_plugin_that_ends_its_process_ends_nothing_else(client: SyncClient, tmp_path: Path, source: str) -> None:
    with pytest.raises(BrokenEnvironment, match=r"exit code 3|signal 11"):
        client.open_environment(spec_of(tmp_path / "deadly.py", source))
    assert result_of(client.wait(client.submit("square", {"number": 3}).id)) == 9


def test_queued_tasks_wait_for_a_plugin_that_is_gone(tmp_path: Path) -> None:
    plugin = tmp_path / "agents.py"
    plugin.write_text("from hundredfold import behaviour\n@behaviour\ndef one() -> int:\n    return 1\n")
    data = tmp_path / "data"
    with running_coordinator(data, plugins=[plugin]) as process, process.client() as client:
        task_id = client.submit("one", not_before=datetime.now(UTC) + timedelta(seconds=1)).id
    with running_coordinator(data) as process, process.client() as client:
        gate = task_pb2.GATE_KIND_ENVIRONMENT
        eventually(lambda: client.explain(task_id).gate.kind == gate, what="the gate")
        assert "has no behaviour 'one' any more" in client.explain(task_id).summary
    with running_coordinator(data, plugins=[plugin]) as process, process.client() as client:
        task = client.wait(task_id)
    assert (result_of(task), len(task.attempts)) == (1, 1)


def test_a_broken_plugin_does_not_harm_the_others(start: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    with start("--plugin", str(tmp_path / "broken.py")).client() as client:
        assert result_of(client.wait(client.submit("square", {"number": 3}).id)) == 9
        plugin = next(p for p in client.environments()[0].plugins if p.name == "broken.py")
        assert plugin.error.startswith("ZeroDivisionError")
        assert "1 / 0" in plugin.traceback
        with pytest.raises(UnknownBehaviour, match=r"broken\.py"):
            client.submit("something")


def test_a_name_that_is_taken_is_the_later_plugins_fault(client: SyncClient, tmp_path: Path) -> None:
    spec = spec_of(tmp_path / "one.py", "@behaviour\ndef same() -> int: return 1")
    (tmp_path / "two.py").write_text("from hundredfold import behaviour\n@behaviour\ndef same() -> int: return 2")
    spec.plugin_files.append(str(tmp_path / "two.py"))
    with pytest.raises(BrokenPlugin, match=r"'two\.py'.*already registered by plugin 'one\.py'"):
        client.open_environment(spec)


def test_an_edited_file_is_another_environment(client: SyncClient, tmp_path: Path) -> None:
    names = []
    for number in (1, 2):
        spec = spec_of(tmp_path / "edited.py", f"@behaviour\ndef value() -> int: return {number}")
        names.append(client.open_environment(spec).name)
        assert client.open_environment(spec).name == names[-1]
        assert result_of(client.wait(client.submit("value", environment=names[-1]).id)) == number
    assert names[0] != names[1]


def test_a_missing_file_is_named(client: SyncClient) -> None:
    with pytest.raises(InvalidArgument, match=r"plugin_files\[0\].*nowhere\.py"):
        client.open_environment(behaviour_pb2.EnvironmentSpec(plugin_files=["/nowhere.py"]))


def test_an_interpreter_that_cannot_run_is_named(client: SyncClient) -> None:
    with pytest.raises((InvalidArgument, BrokenEnvironment)):
        client.open_environment(behaviour_pb2.EnvironmentSpec(python="/etc/hostname"))


def test_warm_up_runs_once_before_all_forks(client: SyncClient, tmp_path: Path) -> None:
    source = f"""
import os
def warm():
    global pid
    pid = os.getpid()
    open({str(tmp_path / "warm")!r}, "a").write("x")
@behaviour(warm_up=warm)
def ask() -> bool: return pid == os.getppid()
"""
    name = client.open_environment(spec_of(tmp_path / "warm.py", source)).name
    assert list(client.map("ask", [{}] * 3, environment=name)) == [True] * 3
    assert (tmp_path / "warm").read_text() == "x"


def test_programs_are_behaviours(client: SyncClient) -> None:
    double = "import json,sys; print(json.dumps([2 * n for n in json.load(sys.stdin)]))"
    failing = "import sys; sys.stderr.write('no luck'); sys.exit(7)"
    commands = [
        behaviour_pb2.Command(name="double", argv=[sys.executable, "-c", double]),
        behaviour_pb2.Command(name="failing", argv=[sys.executable, "-c", failing]),
        behaviour_pb2.Command(name="missing", argv=["/no/such/program"]),
    ]
    name = client.open_environment(behaviour_pb2.EnvironmentSpec(commands=commands)).name
    assert result_of(client.wait(client.submit("double", [1, 2], environment=name).id)) == [2, 4]
    failed = client.wait(client.submit("failing", environment=name).id)
    assert failed.state == task_pb2.TASK_STATE_FAILED
    assert failed.failure.type == "CommandFailed"
    assert "exited with code 7; it wrote: no luck" in failed.failure.message
    missing = client.wait(client.submit("missing", environment=name).id)
    assert "/no/such/program" in missing.failure.message


def test_a_temporary_environment_is_not_kept_for_ever(start: Start, tmp_path: Path) -> None:
    process = start("--environment-idle-seconds", "0.3")
    with process.client() as client:
        name = client.open_environment(spec_of(tmp_path / "brief.py", "@behaviour\ndef hello() -> int: return 1")).name
        pids = set()
        for _ in range(2):
            task = client.wait(client.submit("hello", environment=name).id)
            assert task.state == task_pb2.TASK_STATE_SUCCEEDED
            pids |= {client.get(task.id).attempts[0].pid}
            eventually(lambda: len(zygotes(process)) == 1, what="the zygote is gone, the default one is not")
        assert len(pids) == 2


def zygotes(process: CoordinatorProcess) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it is their end that is waited for
            found += [child] * child.name().startswith("hundredfold: zy")
    return found
