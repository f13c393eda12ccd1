"""Who may do what: directories, sockets, tokens, and that no secret is to be found."""

import stat
from collections.abc import Callable
from pathlib import Path

import grpc
import psutil
import pytest
from hundredfold import SyncClient
from hundredfold.client import result_of
from hundredfold.client.rpc_error import from_rpc_error
from hundredfold.errors import InvalidSetting, PermissionDenied, StaleAttempt, Unauthenticated
from hundredfold.internal.v1 import host_service_pb2, host_service_pb2_grpc
from hundredfold.testing.coordinator import CoordinatorProcess, eventually
from hundredfold.v1 import behaviour_pb2, payload_pb2, worker_service_pb2_grpc
from hundredfold.v1 import worker_service_pb2 as pb
from hundredfold_coordinator.servers import tcp_token

Start = Callable[..., CoordinatorProcess]


def test_only_the_owner_gets_in(coordinator: CoordinatorProcess) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in coordinator.data_dir.glob("*.sock")}
    assert stat.S_IMODE(coordinator.data_dir.stat().st_mode) == 0o700
    assert modes == {"api.sock": 0o600, "worker.sock": 0o600}


@pytest.mark.parametrize("secret", [None, "", "guessed"])
def test_the_worker_socket_wants_a_credential(coordinator: CoordinatorProcess, secret: str | None) -> None:
    metadata = (("authorization", f"Bearer {secret}"),) if secret is not None else ()
    with grpc.insecure_channel(f"unix:{coordinator.data_dir}/worker.sock") as channel:
        workers = worker_service_pb2_grpc.WorkerServiceStub(channel)
        calls = [
            lambda: workers.NextAttempt(pb.NextAttemptRequest(protocol_version=1), metadata=metadata),
            lambda: workers.EmitEvents(pb.EmitEventsRequest(), metadata=metadata),
            lambda: workers.SaveCheckpoint(pb.SaveCheckpointRequest(), metadata=metadata),
            lambda: workers.CompleteAttempt(pb.CompleteAttemptRequest(), metadata=metadata),
            lambda: workers.FailAttempt(pb.FailAttemptRequest(), metadata=metadata),
        ]
        for call in calls:
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert isinstance(from_rpc_error(caught.value, ""), Unauthenticated)
        attach = host_service_pb2_grpc.HostServiceStub(channel).Attach
        with pytest.raises(grpc.RpcError) as caught:
            next(attach(iter([host_service_pb2.AttachRequest()]), metadata=metadata))
        assert isinstance(from_rpc_error(caught.value, ""), Unauthenticated)


def test_no_secret_is_to_be_found(client: SyncClient, coordinator: CoordinatorProcess) -> None:
    task_id = client.submit("remember", {"text": "x", "pause": 30}).id
    eventually(lambda: client.get(task_id).attempts and client.get(task_id).attempts[0].pid, what="running")
    family = [psutil.Process(coordinator.pid), *psutil.Process(coordinator.pid).children(recursive=True)]
    assert len(family) >= 4
    for process in family:
        said = " ".join(process.cmdline()) + str(process.environ())
        assert "Bearer" not in said
        assert not [word for word in said.split() if len(word) == 43 and "/" not in word], "looks like a secret"
    client.cancel(task_id)


def test_tcp_wants_the_token(start: Start, unused_tcp_port: int) -> None:
    process = start("--listen", f"127.0.0.1:{unused_tcp_port}")
    address = f"127.0.0.1:{unused_tcp_port}"
    token_file = process.data_dir / "token"
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    token = token_file.read_text().strip()
    for wrong in ("", "guessed", token + "x"):
        with SyncClient(address, token=wrong) as client, pytest.raises(Unauthenticated):
            client.status()
    with SyncClient(address, token=token) as client:
        assert result_of(client.wait(client.submit("square", {"number": 4}).id)) == 16
        with pytest.raises(PermissionDenied):
            client.open_environment(behaviour_pb2.EnvironmentSpec())


def test_a_late_worker_is_refused(client: SyncClient, coordinator: CoordinatorProcess, tmp_path: Path) -> None:
    """A token is good for one attempt: when that has ended, nothing more is recorded under it."""
    out = tmp_path / "token"
    plugin = tmp_path / "thief.py"
    plugin.write_text(_THIEF.format(out=str(out)))
    environment = client.open_environment(behaviour_pb2.EnvironmentSpec(plugin_files=[str(plugin)]))
    task_id = client.submit("leak", environment=environment.name).id
    client.wait(task_id)
    eventually(lambda: client.get(task_id).attempts[0].HasField("receipt"), what="the receipt")
    with grpc.insecure_channel(f"unix:{coordinator.data_dir}/worker.sock") as channel:
        stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        request = pb.CompleteAttemptRequest(result=payload_pb2.Payload(data=b'"forged"'))
        with pytest.raises(grpc.RpcError) as caught:
            stub.CompleteAttempt(request, metadata=(("authorization", f"Bearer {out.read_text()}"),))
        assert isinstance(from_rpc_error(caught.value, ""), Unauthenticated | StaleAttempt)
    assert result_of(client.get(task_id)) == "honest"


_THIEF = """
from pathlib import Path
from hundredfold import behaviour

@behaviour
def leak(ctx) -> str:
    Path({out!r}).write_text(ctx._port._channel._secret)
    return "honest"
"""


@pytest.mark.parametrize("text", ["", "short"])
def test_a_token_file_without_a_token_opens_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(text)
    with pytest.raises(InvalidSetting, match="token"):
        tcp_token(tmp_path)


def test_a_data_directory_that_others_can_look_into_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    with pytest.raises(AssertionError, match="chmod 700"):
        CoordinatorProcess(open_to_all)
    assert stat.S_IMODE(open_to_all.stat().st_mode) == 0o755
