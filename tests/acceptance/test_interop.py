"""Clients in other languages, with nothing of Hundredfold but proto/, work with a real `hundredfold serve`.

Each client in interop/ does the same and prints what it saw; the tests here say what that must be. Node's loads proto/
when it starts, Go's is generated from it first. Their modules come from the registries once, and from the tools' own
caches later.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

pytestmark = pytest.mark.timeout(300)  # Go compiles gRPC and half its standard library the first time

_PROTO: Final = Path(__file__).parents[2] / "proto"
_INTEROP: Final = Path(__file__).parent / "interop"
_UNOBTAINABLE: Final = re.compile(
    r".*(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|ENOTCACHED"  # npm
    r"|dial tcp|TLS handshake timeout|requires go >= |invalid go version).*"  # go
)
"""A line in which a tool says that no registry answers, or that it is too old itself."""

Seen = dict[str, Any]
"""What a client printed."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("served")
    log = folder / "log"
    argv = [sys.executable, "-m", "hundredfold_coordinator", "serve"]
    options = ["--data-dir", str(folder), "--plugin", str(_INTEROP / "agents.py")]
    with log.open("wb") as stderr, subprocess.Popen([*argv, *options], stderr=stderr) as daemon:
        try:
            yield _served_address(daemon, log)
        finally:
            code = _stop(daemon)
    assert code == 0, log.read_text()


def _served_address(daemon: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 30
    while daemon.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"hundredfold serves at (\S+)\n", log.read_text()):
            return found[1]
        time.sleep(0.02)
    return pytest.fail(f"the coordinator does not serve:\n{log.read_text()}")


def _stop(daemon: subprocess.Popen[bytes]) -> int:
    daemon.terminate()
    try:
        return daemon.wait(30)
    except subprocess.TimeoutExpired:
        daemon.kill()
        raise


@pytest.fixture(scope="module", params=["node", pytest.param("go", marks=pytest.mark.soak)])  # a minute to compile
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def client(language: str, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = shutil.copytree(_INTEROP / language, tmp_path_factory.mktemp("interop") / language)
    return _BUILDERS[language](folder)


@pytest.fixture(scope="module")
def seen(language: str, client: list[str], address: str) -> Seen:
    done = _run(*client, address, f"interop-{language}")
    assert done.returncode == 0, done.stderr
    printed: Seen = json.loads(done.stdout)
    return printed


def _node_client(folder: Path) -> list[str]:
    node, npm = _tool("node"), _tool("npm")
    quick = ["--prefer-offline", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    _build(folder, npm, "install", *quick, *quiet)
    return [node, str(folder / "client.js"), str(_PROTO)]


def _go_client(folder: Path) -> list[str]:
    go = _tool("go")
    build = [go, "build", "-mod=mod", "-trimpath", "-buildvcs=false", "-o"]  # -mod=mod writes go.sum
    _build(folder, *build, "bin/", "tool")
    _generate_go(folder)
    _build(folder, *build, "client", ".")
    return [str(folder / "client")]


def _generate_go(folder: Path) -> None:
    """Generate the package `interop/hundredfoldv1`; our files name no Go package themselves, google's do."""
    files = [str(file.relative_to(_PROTO)) for file in sorted(_PROTO.glob("hundredfold/v1/*.proto"))]
    options = ["module=interop", *(f"M{file}=interop/hundredfoldv1" for file in files)]
    argv = [sys.executable, "-m", "grpc_tools.protoc", f"-I{_PROTO}"]
    for name in ("go", "go-grpc"):
        argv += [f"--plugin={folder}/bin/protoc-gen-{name}", f"--{name}_out={folder}"]
        argv += [f"--{name}_opt={option}" for option in options]
    _build(folder, *argv, *files)


_BUILDERS: Final[dict[str, Callable[[Path], list[str]]]] = {"node": _node_client, "go": _go_client}


def _tool(name: str) -> str:
    return shutil.which(name) or pytest.skip(f"{name} is not installed")


def _build(folder: Path, *argv: str) -> None:
    """Run one step; skip if what it needs cannot be had here."""
    environment = {**os.environ, "CGO_ENABLED": "0"}  # needs no C compiler, and half the time
    done = _run(*argv, cwd=folder, env=environment)
    if done.returncode:
        if line := _UNOBTAINABLE.search(done.stderr):
            pytest.skip(line[0].strip())
        pytest.fail(f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _run(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, capture_output=True, text=True, timeout=200, **options)


def test_a_repeated_request_is_the_same_task(seen: Seen) -> None:
    first, second = seen["submitted"]
    assert first == second == seen["task"]["id"]


def test_events_tell_the_life_of_the_task_from_its_beginning(seen: Seen) -> None:
    assert [event["sequence"] for event in seen["events"]] == [1, 2, 3, 4, 5, 6, 7]
    begin = ["TASK_STATE_QUEUED", "TASK_STATE_LAUNCHING", "TASK_STATE_RUNNING"]
    emitted = [{"number": 1}, {"number": 2}, {"number": 3}]
    assert [event["what"] for event in seen["events"]] == [*begin, *emitted, "TASK_STATE_SUCCEEDED"]


def test_the_result_is_read(seen: Seen) -> None:
    assert seen["task"]["state"] == "TASK_STATE_SUCCEEDED"
    assert seen["task"]["lastSequence"] == len(seen["events"])
    assert seen["result"] == {"greeting": "Hello, Ada!"}


def test_an_unknown_behaviour_is_a_typed_error(seen: Seen) -> None:
    error = seen["unknownBehaviour"]
    assert (error["code"], error["reason"]) == ("NOT_FOUND", "BEHAVIOUR_NOT_FOUND")
    assert error["domain"] == "hundredfold"
    assert error["metadata"]["behaviour"] == "gret"
    assert "'gret'" in error["message"]


def test_invalid_input_is_a_typed_error_that_names_the_field(seen: Seen) -> None:
    error = seen["invalidInput"]
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "INVALID_INPUT")
    assert error["domain"] == "hundredfold"
    assert error["fields"] == ["spec.input.times"]
    assert "`times`" in error["message"]


def test_behaviours_are_listed(seen: Seen) -> None:
    assert "greet" in seen["behaviours"]


def test_a_health_check_answers(seen: Seen) -> None:
    assert seen["health"] == "SERVING"


@pytest.mark.parametrize("language", ["go"], indirect=True)
def test_reflection_names_the_services(seen: Seen) -> None:
    assert {"hundredfold.v1.TaskService", "hundredfold.v1.CoordinatorService"} <= set(seen["services"])
    assert "hundredfold.v1.WorkerService" not in seen["services"]
