"""A service's gRPC port, in one process with its caller."""

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bennu.ops.grpc_port import serving
from bennu.ops.readiness import Readiness

WAITING_FOR_CALLS = "_request_"
"""How `grpc.aio` names what waits for the next call: of any method, or of one that was registered."""


def test_one_task_waits_for_calls_of_all_methods() -> None:
    """Each further one is waited for anew with every call, of any method: health and reflection had four."""

    async def body() -> None:
        server = grpc.aio.server()
        port = server.add_insecure_port("127.0.0.1:0")
        async with (
            serving(server, ("t.Service",), Readiness()),
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            health = health_pb2_grpc.HealthStub(channel)
            found = await health.Check(health_pb2.HealthCheckRequest(service="t.Service"), timeout=20)  # type: ignore[attr-defined]  # the published types leave it out
            assert found.status in (health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING)
            waiting = [task for task in asyncio.all_tasks() if WAITING_FOR_CALLS in repr(task)]
            assert len(waiting) == 1, waiting

    asyncio.run(body())
