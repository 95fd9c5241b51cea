"""A CServer, assembled: log, partitions, edge, operations port.  The one place that opens anything."""

import asyncio
import socket
from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from bennu.domain.app import App
from bennu.limits import LAST_ANSWERS_MS, LAST_CALLS_MS, MAX_FRAME_BYTES, MAX_METADATA_BYTES
from bennu.log.port import Log
from bennu.members.group import Group, Identity
from bennu.ops import addresses, topics
from bennu.ops.apps import load_app
from bennu.ops.logs import open_log
from bennu.ops.prepare import Told, prepare
from bennu.ops.readiness import Readiness
from bennu.ops.run import Running
from bennu.ops.stopping import unless
from bennu.replica.clock import Clock, SystemClock
from bennu.replica.leader import Candidate
from bennu.replica.member import run_all
from bennu.replica.node import Node
from bennu.replica.pauses import Pauses
from bennu.snapshots.follower import snapshots_at
from bennu_cserver import inspection, peer_service, stream
from bennu_cserver.edge import Edge
from bennu_cserver.intake import Intake
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from bennu_cserver.peers import PING_EVERY_MS, Peers
from bennu_cserver.routes import Routes
from bennu_cserver.settings import CServerSettings
from bennu_cserver.slices import keep_for_good, let_threads_in

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to be told from an address that others can use
OPTIONS = (
    ("grpc.max_receive_message_length", 2 * MAX_FRAME_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", PING_EVERY_MS // 2),
)


async def main(settings: CServerSettings, running: Running) -> None:
    """Serve until asked to stop."""
    app, clock, peers = load_app(settings.app), SystemClock(), Peers()
    observed = Observed(running.metrics, running.readiness, settings.partitions)
    async with open_log(settings) as log:
        server = grpc.aio.server(options=OPTIONS)
        port = bind(server, settings)
        node = node_of(
            app, settings, log, clock=clock, me=Identity("cserver", running.node, advertised(settings, port))
        )
        intake = Intake(app, clock.wall_us)
        places = [(number, settings.partitions) for number in range(settings.partitions)]
        members = [Member(app, place, node=node, intake=intake) for place in places]
        routes = Routes(app, members, group=node.group, peers=peers)
        edge, frames = Edge(routes, intake, observed), stream.Stream(routes, intake, observed)
        others = peer_service.PeerService(routes, intake)
        looks = inspection.Inspection(routes)
        server.add_generic_rpc_handlers((edge.handlers(), frames.handlers(), others.handlers(), looks.handlers()))
        services = (app.service.full_name, stream.SERVICE, peer_service.SERVICE, inspection.SERVICE)
        checks = await add_checks(server, services)
        await server.start()
        keep_for_good()
        let_threads_in()
        running.announce(grpc=f"{settings.grpc.rpartition(':')[0]}:{port}")
        needed = [topics.members(app.name), *(topic for member in members for topic in member.topics)]
        telling = asyncio.create_task(tell_health(checks, ("", *services), running.readiness))
        try:
            told = Told(app.name, settings.partitions)
            if await unless(running.stop, prepare(log, needed, told, embedded=settings.log_is_embedded)):
                await run_all(node, members, clock, observed=observed, stopping=running.stop)
        finally:
            telling.cancel()
            await asyncio.sleep(LAST_CALLS_MS / 1000)  # the transport cancels what it has taken and we have not
            await server.stop(LAST_ANSWERS_MS / 1000)
            await peers.close()


def node_of(app: App, settings: CServerSettings, log: Log, *, clock: Clock, me: Identity) -> Node:
    """This process among the others of its service."""
    window_count = max(1, settings.window_count // settings.partitions)
    candidate = Candidate(me.node, window_count, settings.window_age_ms)
    snapshots = snapshots_at(settings.postgres, every_s=settings.snapshot_every_s, name=me.node)
    return Node(
        log, candidate, Group(log, topics.members(app.name), me, clock=clock), snapshots, Pauses(clock.monotonic_us)
    )


def advertised(settings: CServerSettings, port: int) -> str:
    """Where the others reach us: as told, or where we are bound, or by our host's name if that is everywhere."""
    if settings.advertise:
        return str(addresses.parse(settings.advertise, what="advertise"))
    host = settings.grpc.rpartition(":")[0]
    return f"{socket.gethostname() if host.strip('[]') in EVERYWHERE else host}:{port}"


def bind(server: grpc.aio.Server, settings: CServerSettings) -> int:
    """The port that was bound.  Raises `BadSettings`."""
    address = addresses.to_bind(settings.grpc, what="grpc", insecure_bind=settings.insecure_bind)
    addresses.refuse_if_taken(address, what="grpc")  # gRPC would say it first, in lines of its own, and not why
    try:
        return server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise addresses.not_bound(address, what="grpc") from error


async def add_checks(server: grpc.aio.Server, services: Sequence[str]) -> health.aio.HealthServicer:
    """The health service, which says "not serving" for now, and reflection."""
    checks = health.aio.HealthServicer()
    for service in ("", *services):
        await checks.set(service, health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return checks


async def tell_health(checks: health.aio.HealthServicer, services: Sequence[str], readiness: Readiness) -> None:
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
