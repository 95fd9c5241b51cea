"""A service's gRPC port: where it listens and is reached; reflection; a health service that says if it is ready."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from bennu.limits import LAST_ANSWERS_MS, LAST_CALLS_MS
from bennu.ops import addresses
from bennu.ops.readiness import Readiness

OPTIONS = (("grpc.so_reuseport", 0),)
"""Of every server: two processes must not share a port without knowing."""
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to be told from an address that others can use


def bind(server: grpc.aio.Server, text: str, *, what: str, insecure_bind: bool) -> int:
    """The port that was bound.  Raises `BadSettings` naming `what`, the setting."""
    address = addresses.to_bind(text, what=what, insecure_bind=insecure_bind)
    addresses.refuse_if_taken(address, what=what)  # gRPC would say it first, in lines of its own, and not why
    try:
        return server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise addresses.not_bound(address, what=what) from error


def advertised(told: str, bound: str, port: int, *, what: str = "advertise") -> str:
    """Where the others reach us: as told, or where we are bound, or by our host's name if that is everywhere."""
    if told:
        return str(addresses.parse(told, what=what))
    host = bound.rpartition(":")[0]
    return f"{socket.gethostname() if host.strip('[]') in EVERYWHERE else host}:{port}"


@asynccontextmanager
async def serving(server: grpc.aio.Server, services: Sequence[str], readiness: Readiness) -> AsyncIterator[None]:
    """Serve, with health and reflection of these services; when the block ends, the last calls are still answered."""
    checks = await _add_checks(server, services)
    await server.start()
    telling = asyncio.create_task(_tell_health(checks, ("", *services), readiness))
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.sleep(LAST_CALLS_MS / 1000)  # the transport cancels what it has taken and we have not
        await server.stop(LAST_ANSWERS_MS / 1000)


async def _add_checks(server: grpc.aio.Server, services: Sequence[str]) -> health.aio.HealthServicer:
    """The health service, which says "not serving" for now, and reflection."""
    checks = health.aio.HealthServicer()
    for service in ("", *services):
        await checks.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)
    place = cast(grpc.aio.Server, _ByName(server))  # what is generated calls no more of it
    health_pb2_grpc.add_HealthServicer_to_server(checks, place)
    names = (*services, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(  # type: ignore[no-untyped-call]
        reflection.aio.ReflectionServicer(names), place
    )
    return checks


class _ByName:
    """A server whose methods are all found by name.

    Generated code also registers its methods, each of which then has a task that waits for its next call, and for every
    call, of any method, `grpc.aio` begins anew to wait for all of those: with the four of health and reflection, 250
    instructions of Python a call.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Nothing: what is not registered is found by name."""


async def _tell_health(checks: health.aio.HealthServicer, services: Sequence[str], readiness: Readiness) -> None:
    """Keep the health service at what readiness says of each service, for ever."""
    said: int | None = None
    check = health_pb2.HealthCheckResponse
    while True:
        now = check.SERVING if readiness.ready else check.NOT_SERVING
        if now != said:
            for service in services:
                await checks.set(service, now)
            said = now
        await asyncio.sleep(0.1)
