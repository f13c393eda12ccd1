"""A real host below a scripted coordinator, which gives attempts and keeps what comes back."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf import duration_pb2
from hundredfold.identity import kill_trees
from hundredfold.internal.v1 import host_service_pb2, host_service_pb2_grpc, records_pb2
from hundredfold.testing.coordinator import eventually
from hundredfold.v1 import attempt_pb2, behaviour_pb2, policy_pb2, worker_service_pb2, worker_service_pb2_grpc

HERE: Final = Path(__file__).parent
_SECONDS: Final = 20.0


def seconds(value: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(value), nanos=int(value % 1 * 1e9))


@dataclass
class Attempt:
    """What a coordinator knows of an attempt; `wait_...` fail a test that would wait for ever."""

    key: host_service_pb2.AttemptKey
    behaviour: str
    input: dict[str, Any]
    process: records_pb2.ProcessIdentity | None = None
    taken: bool | None = None
    result: Any = None
    failure: attempt_pb2.Failure | None = None
    launch_failed: host_service_pb2.LaunchFailed | None = None
    receipt: attempt_pb2.Receipt | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, **what: Any) -> None:
        with self.changed:
            for name, value in what.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def wait(self, name: str) -> Any:
        return getattr(self, self.wait_any(name))

    def wait_any(self, *names: str) -> str:
        """Wait until one of these is known; return which."""
        with self.changed:
            assert self.changed.wait_for(lambda: self._known(names), _SECONDS), f"none of {names} is known"
            return self._known(names)[0]

    def _known(self, names: tuple[str, ...]) -> list[str]:
        return [name for name in names if getattr(self, name) is not None]

    def wait_pid(self) -> int:
        return self.wait("process").pid

    def wait_receipt(self) -> attempt_pb2.Receipt:
        return self.wait("receipt")


class Stage(host_service_pb2_grpc.HostServiceServicer, worker_service_pb2_grpc.WorkerServiceServicer):
    """A coordinator with one host, whose script is `argv`."""

    best = True

    def __init__(self, directory: Path, *argv: str) -> None:
        self._directory = directory
        self._address = f"unix:{directory}/worker.sock"
        self._attempts: dict[str, Attempt] = {}
        self._commands: queue.Queue[host_service_pb2.HostCommand | None] = queue.Queue()
        self.environments: dict[str, behaviour_pb2.Environment] = {}
        self.serve()
        reader, writer = os.pipe()
        self.host = subprocess.Popen([sys.executable, "-P", *argv, str(reader)], pass_fds=[reader])
        os.close(reader)
        config = host_service_pb2.HostConfig(host_id=f"host-{self.host.pid}", secret="s", address=self._address)
        config.orphan_time.FromSeconds(20)
        config.sample_interval.FromMilliseconds(100)
        with os.fdopen(writer, "wb") as file:
            file.write(config.SerializeToString())
        self.open("default", HERE / "agents.py")

    # What tests do ----------------------------------------------------------------------------------------------------

    def serve(self) -> None:
        self._commands = queue.Queue()
        self._server = grpc.server(ThreadPoolExecutor(50))
        host_service_pb2_grpc.add_HostServiceServicer_to_server(self, self._server)
        worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(self, self._server)
        self._server.add_insecure_port(self._address)
        self._server.start()

    def leave(self) -> None:
        """Be gone, as a coordinator that was killed."""
        self._commands.put(None)
        self._server.stop(0).wait()

    def open(self, name: str, plugin: Path) -> behaviour_pb2.Environment:
        spec = behaviour_pb2.EnvironmentSpec(plugin_files=[str(plugin)])
        self._send(open_environment=host_service_pb2.OpenEnvironment(name=name, spec=spec))
        eventually(lambda: self._state(name) == behaviour_pb2.ENVIRONMENT_STATE_READY, seconds=20, what=name)
        return self.environments[name]

    def launch(self, behaviour: str, environment: str = "default", **options: Any) -> Attempt:
        """Launch; options are those of `Limits`, `grace`, and whatever the behaviour takes."""
        limits = policy_pb2.Limits(memory_bytes=options.pop("memory_bytes", 0), processes=options.pop("processes", 0))
        if "wall" in options:
            limits.wall_time.CopyFrom(seconds(options.pop("wall")))
        key = host_service_pb2.AttemptKey(task_id=f"t{len(self._attempts)}", number=1)
        launch = host_service_pb2.Launch(
            attempt=key,
            environment=environment,
            behaviour=behaviour,
            credential=key.task_id,
            limits=limits,
            grace=seconds(options.pop("grace", 0)),
        )
        attempt = self._attempts[key.task_id] = Attempt(key, behaviour, options)
        self._send(launch=launch)
        return attempt

    def run(self, behaviour: str, environment: str = "default", **options: Any) -> Any:
        """Launch, again as long as no process can be made, and return the result."""
        attempt = self.launch(behaviour, environment, **dict(options))
        if attempt.wait_any("result", "launch_failed") == "launch_failed":
            return self.run(behaviour, environment, **options)
        return attempt.result

    def kill(self, attempt: Attempt, grace: float) -> None:
        self._send(kill=host_service_pb2.Kill(attempt=attempt.key, grace=seconds(grace)))

    def zygote(self) -> int:
        """Return the pid of the default environment's zygote."""
        for pid in Path(f"/proc/{self.host.pid}/task/{self.host.pid}/children").read_text().split():
            if b"zygote default" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        raise AssertionError("there is no zygote")

    def stop(self) -> None:
        self._send(shutdown=host_service_pb2.Shutdown())
        try:
            assert self.host.wait(_SECONDS) == 0
        finally:
            if self.host.poll() is None:
                kill_trees([records_pb2.ProcessIdentity(pid=self.host.pid)])
                self.host.kill()
                self.host.wait()
            self._commands.put(None)
            self._server.stop(0).wait()

    # What the host and workers say ------------------------------------------------------------------------------------

    def Attach(self, requests: Iterator[host_service_pb2.AttachRequest], _context: Any) -> Iterator[Any]:  # noqa: N802
        commands = self._commands
        threading.Thread(target=self._read, args=(requests, commands)).start()
        yield host_service_pb2.AttachResponse(
            commands=[host_service_pb2.HostCommand(welcome=host_service_pb2.Welcome(epoch=1))]
        )
        while command := commands.get():
            yield host_service_pb2.AttachResponse(commands=[command])

    def _read(self, requests: Iterator[host_service_pb2.AttachRequest], commands: queue.Queue[Any]) -> None:
        try:
            for request in requests:
                for report in request.reports:
                    self._note(report, commands)
        except grpc.RpcError:
            pass  # the stream has ended

    def _note(self, report: host_service_pb2.HostReport, commands: queue.Queue[Any]) -> None:
        kind = report.WhichOneof("kind")
        if kind == "environment":
            self.environments[report.environment.name] = report.environment
        elif kind == "launched":
            self._attempts[report.launched.attempt.task_id].note(process=report.launched.process)
        elif kind == "launch_failed":
            self._attempts[report.launch_failed.attempt.task_id].note(launch_failed=report.launch_failed)
        elif kind == "exited":
            self._attempts[report.exited.attempt.task_id].note(receipt=report.exited.receipt)
        if report.number:
            acknowledge = host_service_pb2.Acknowledge(number=report.number)
            commands.put(host_service_pb2.HostCommand(acknowledge=acknowledge))

    def NextAttempt(self, _request: Any, context: Any) -> worker_service_pb2.NextAttemptResponse:  # noqa: N802
        attempt = self._of(context)
        attempt.note(taken=True)
        response = worker_service_pb2.NextAttemptResponse(
            task_id=attempt.key.task_id,
            attempt=1,
            token=attempt.key.task_id,
            behaviour=attempt.behaviour,
            max_payload_bytes=1 << 20,
        )
        response.input.data = json.dumps(attempt.input).encode()
        return response

    def CompleteAttempt(self, request: Any, context: Any) -> worker_service_pb2.CompleteAttemptResponse:  # noqa: N802
        self._of(context).note(result=json.loads(request.result.data))
        return worker_service_pb2.CompleteAttemptResponse()

    def FailAttempt(self, request: Any, context: Any) -> worker_service_pb2.FailAttemptResponse:  # noqa: N802
        self._of(context).note(failure=request.failure)
        return worker_service_pb2.FailAttemptResponse()

    def _of(self, context: Any) -> Attempt:
        return self._attempts[dict(context.invocation_metadata())["authorization"].removeprefix("Bearer ")]

    def _state(self, name: str) -> int:
        return self.environments[name].state if name in self.environments else 0

    def _send(self, **command: Any) -> None:
        self._commands.put(host_service_pb2.HostCommand(**command))


@pytest.fixture(scope="module", params=["best", "session"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage with the best containment of this machine, then one without any."""
    scripts = {"best": ["-m", "hundredfold_host"], "session": [str(HERE / "host_by_session.py")]}
    stage = Stage(tmp_path_factory.mktemp("stage"), *scripts[request.param])
    stage.best = request.param == "best"
    yield stage
    stage.stop()


@pytest.fixture(autouse=True)
def _neighbour(stage: Stage, tmp_path: Path) -> Iterator[None]:
    """Have another attempt run all the time, and nothing happen to it."""
    neighbour = stage.launch("hold", path=str(tmp_path / "go"))
    pid = neighbour.wait_pid()
    yield
    (tmp_path / "go").touch()
    assert neighbour.wait("result") == pid
    receipt = neighbour.wait_receipt()
    assert (receipt.HasField("exit_code"), receipt.exit_code, receipt.survivors) == (True, 0, 0)
    assert receipt.kill_cause == attempt_pb2.KILL_CAUSE_UNSPECIFIED
    assert stage.host.poll() is None
