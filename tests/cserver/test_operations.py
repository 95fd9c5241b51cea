"""What operators see of a CServer: health, readiness, metrics, reflection, and a log that is away."""

import json
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from bank.v1.commands_pb2 import Deposit, OpenAccount
from bank.v1.queries_pb2 import GetAccount
from bennu.stack.ports import free_port
from tests.cserver.served import TIMEOUT_S, Server

Request = reflection_pb2.ServerReflectionRequest
OPEN = OpenAccount(account="a", currency="EUR")


def reflected(server: Server, request: Request) -> reflection_pb2.ServerReflectionResponse:
    """One answer of the reflection service."""
    stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
    found: reflection_pb2.ServerReflectionResponse = next(
        stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT_S)  # type: ignore[operator]  # untyped as published
    )
    return found


def test_reflection_shows_the_services_of_the_app(server: Server) -> None:
    """A caller with nothing but the address finds the domain's service and its messages."""
    listed = reflected(server, Request(list_services="")).list_services_response.service
    assert {service.name for service in listed} == {
        "bank.v1.Bank",
        "bennu.v1.CommandStream",
        "bennu.v1.Inspection",
        "bennu.v1.Peer",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    files = reflected(
        server, Request(file_containing_symbol="bank.v1.Bank")
    ).file_descriptor_response.file_descriptor_proto
    services = [service.name for file in files for service in FileDescriptorProto.FromString(file).service]
    assert services == ["Bank"]


@pytest.mark.parametrize("service", ["", "bank.v1.Bank", "bennu.v1.CommandStream"])
def test_health_speaks_for_each_service(server: Server, service: str) -> None:
    """The process as a whole and each service by its name are SERVING."""
    stub = health_pb2_grpc.HealthStub(server.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT_S)  # type: ignore[attr-defined]  # as published
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_readiness_names_every_partition(server: Server) -> None:
    """Ready is to lead each partition."""
    status, body = server.ops("/readyz")
    assert status == 200
    assert json.loads(body)["ready"]
    assert set(json.loads(body)["conditions"]) == {"partition-0", "partition-1"}
    assert server.ops("/healthz")[0] == 200
    assert server.ops("/nothing")[0] == 404


def test_metrics_count_what_was_done(server: Server) -> None:
    """Commands answered and refused, queries, and who leads."""
    names = ('bennu_commands_total{way="unary"}', "bennu_refused_commands_total", "bennu_queries_total")
    server.ask(OPEN)
    before = [server.metric(name) for name in names]
    server.ask(Deposit(account="a", amount_minor=1, currency="EUR"))
    server.ask(Deposit(account="a", amount_minor=0, currency="EUR"))
    server.ask(GetAccount(account="a"))
    assert [server.metric(name) for name in names] == [count + 1 for count in before]
    assert [server.metric(f'bennu_leads{{partition="{number}"}}') for number in (0, 1)] == [1, 1]
    assert server.metric('bennu_reply_seconds_count{way="unary"}') == before[0] + 1


def test_a_log_that_is_away_is_waited_for(tmp_path: Path) -> None:
    """Without its log the process stands, not ready, says so in words, and answers that nothing is known yet."""
    away = f"rocketmq://127.0.0.1:{free_port()}?namesrv=127.0.0.1:{free_port()}"
    with Server(tmp_path, log_url=away) as server:
        server.launch()
        server.wait_for_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        status, body = server.ops("/readyz")
        assert status == 503
        assert json.loads(body)["conditions"]["partition-0"] == {"met": False, "reason": "starting"}
        answer = server.ask(OPEN)
        assert (answer.code, answer.reason) == ("UNAVAILABLE", "OUTCOME_UNKNOWN")
        assert answer.retry_ms > 0
        assert "127.0.0.1" in server.first_line_with('"waiting')
        assert server.stop() == 0
