"""What a gRPC server is expected to serve beside its own services: health and reflection."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hundredfold.client.rpc_error import from_rpc_error
from hundredfold.errors import InvalidArgument
from hundredfold.testing.coordinator import CoordinatorProcess

SERVING = health_pb2.HealthCheckResponse.SERVING


def test_health_can_be_checked_and_watched(coordinator: CoordinatorProcess) -> None:
    with grpc.insecure_channel(coordinator.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "hundredfold.v1.TaskService", "hundredfold.v1.CoordinatorService"):
            request = health_pb2.HealthCheckRequest(service=service)
            assert health.Check(request).status == SERVING
            watch = health.Watch(request)
            assert next(watch).status == SERVING
            watch.cancel()


def test_an_unknown_service_has_no_health(coordinator: CoordinatorProcess) -> None:
    with grpc.insecure_channel(coordinator.address) as channel:
        call = health_pb2_grpc.HealthStub(channel).Check
        with pytest.raises(grpc.RpcError) as caught:
            call(health_pb2.HealthCheckRequest(service="nope"))
        assert "NOT_FOUND" in str(caught.value)
    assert "ERROR" not in coordinator.log


def test_reflection_names_the_services(coordinator: CoordinatorProcess) -> None:
    with grpc.insecure_channel(coordinator.address) as channel:
        ask = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
        (answer,) = ask(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = {service.name for service in answer.list_services_response.service}
    assert {"hundredfold.v1.TaskService", "hundredfold.v1.CoordinatorService", "grpc.health.v1.Health"} <= names


def test_a_malformed_request_is_a_typed_error(coordinator: CoordinatorProcess) -> None:
    with grpc.insecure_channel(coordinator.address) as channel:
        call = channel.unary_unary("/hundredfold.v1.TaskService/GetTask")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff")
        error = from_rpc_error(caught.value, "")
        assert isinstance(error, InvalidArgument)
        assert "is not a message of this method" in str(error)
