"""The gRPC servers: one for clients, one for workers and hosts, each on a Unix socket in a directory of mode 0700."""

import secrets
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from hundredfold.errors import InvalidSetting
from hundredfold.internal.v1 import host_service_pb2_grpc
from hundredfold.v1 import (
    coordinator_service_pb2,
    memory_service_pb2,
    session_service_pb2,
    store_service_pb2,
    task_service_pb2,
)
from hundredfold.v1 import coordinator_service_pb2_grpc as coordinator_grpc
from hundredfold.v1 import memory_service_pb2_grpc as memory_grpc
from hundredfold.v1 import session_service_pb2_grpc as session_grpc
from hundredfold.v1 import store_service_pb2_grpc as store_grpc
from hundredfold.v1 import task_service_pb2_grpc as task_grpc
from hundredfold.v1 import worker_service_pb2_grpc as worker_grpc

from hundredfold_coordinator.services.edge import Edge

_SERVICES: Final = (
    task_service_pb2.DESCRIPTOR.services_by_name["TaskService"].full_name,
    session_service_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name,
    memory_service_pb2.DESCRIPTOR.services_by_name["MemoryService"].full_name,
    coordinator_service_pb2.DESCRIPTOR.services_by_name["CoordinatorService"].full_name,
    store_service_pb2.DESCRIPTOR.services_by_name["StoreService"].full_name,
)
_BATCH_BYTES: Final = 64 << 20
_TOKEN_LENGTH: Final = 32


def _options(max_payload_bytes: int) -> list[tuple[str, int]]:
    # Above the payload limit, so that too large a payload gets an error that names its field; a completion holds a
    # result, session writes and an event, each as large as may be.
    limit = max(_BATCH_BYTES, 4 * max_payload_bytes)
    return [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),  # otherwise a second server could share the TCP port, silently
        ("grpc.max_metadata_size", 8 << 10),
        ("grpc.absolute_max_metadata_size", 16 << 10),
        ("grpc.server_handshake_timeout_ms", 5000),
        ("grpc.http2.min_ping_interval_without_data_ms", 1000),  # hosts ask whether there is still anybody
    ]


class ClientServices(NamedTuple):
    """What clients are served."""

    tasks: Any
    sessions: Any
    memory: Any
    coordinator: Any
    store: Any


class ApiServer:
    """Serves clients at `addresses`; `tcp_token` is what those over TCP must show."""

    def __init__(self, max_payload_bytes: int, tcp_token: str | None) -> None:
        self._server = grpc.aio.server(options=_options(max_payload_bytes))
        self._edge: Any = Edge(self._server, tcp_token)
        self._health = health.aio.HealthServicer()
        self.addresses: list[str] = []

    async def start(self, socket: Path, listen: str, services: ClientServices) -> None:
        """Bind and serve.

        Raises:
            InvalidSetting: the TCP address cannot be bound.

        """
        task_grpc.add_TaskServiceServicer_to_server(services.tasks, self._edge)
        session_grpc.add_SessionServiceServicer_to_server(services.sessions, self._edge)
        memory_grpc.add_MemoryServiceServicer_to_server(services.memory, self._edge)
        coordinator_grpc.add_CoordinatorServiceServicer_to_server(services.coordinator, self._edge)
        store_grpc.add_StoreServiceServicer_to_server(services.store, self._edge)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._edge)
        names = [*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME]
        serve_reflection: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
        serve_reflection(reflection.aio.ReflectionServicer(names), self._edge)
        bind(self._server, socket)
        self.addresses.append(f"unix:{socket}")
        if listen:
            try:
                port = self._server.add_insecure_port(listen)
                self.addresses.append(f"{listen.rpartition(':')[0]}:{port}")  # port 0 asks for any that is free
            except RuntimeError as error:
                raise InvalidSetting("listen", f"is {listen}, which cannot be bound; is it in use?") from error
        await self._server.start()

    async def set_serving(self, *, serving: bool) -> None:
        """Tell health checks whether calls are welcome."""
        state = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *_SERVICES):
            await self._health.set(name, state)

    async def stop(self, grace_seconds: float) -> None:
        """Stop; calls under way may take `grace_seconds`."""
        await self._server.stop(grace_seconds)


class WorkerServer:
    """Serves workers and hosts."""

    def __init__(self, max_payload_bytes: int) -> None:
        self._server = grpc.aio.server(options=_options(max_payload_bytes))
        self._edge: Any = Edge(self._server)

    async def start(self, socket: Path, workers: Any, hosts: Any) -> None:
        """Bind and serve."""
        worker_grpc.add_WorkerServiceServicer_to_server(workers, self._edge)
        host_service_pb2_grpc.add_HostServiceServicer_to_server(hosts, self._edge)
        bind(self._server, socket)
        await self._server.start()

    async def stop(self) -> None:
        """Stop at once."""
        await self._server.stop(0)


def bind(server: grpc.aio.Server, socket: Path) -> None:
    """Bind to a Unix socket. The lock on the data directory is held, so an old socket there is a dead one."""
    socket.unlink(missing_ok=True)
    server.add_insecure_port(f"unix:{socket}")
    socket.chmod(0o600)


def tcp_token(data_dir: Path) -> str:
    """Return the token of the coordinator's token file, which is made with mode 0600 if there is none.

    Raises:
        InvalidSetting: others can read it, or there is no token in it.

    """
    path = data_dir / "token"
    if not path.exists():
        # Whole or not at all: an empty token would let everybody in.
        unfinished = path.with_suffix(".new")
        unfinished.touch(mode=0o600)
        unfinished.write_text(secrets.token_urlsafe(32) + "\n")
        unfinished.rename(path)
    if path.stat().st_mode & 0o077:
        raise InvalidSetting("listen", f"needs {path} to be readable by its owner only; chmod 600 it")
    token = path.read_text().strip()
    if len(token) < _TOKEN_LENGTH:
        raise InvalidSetting(
            "listen", f"needs a token of {_TOKEN_LENGTH} characters in {path}; remove it for a new one"
        )
    return token
