"""A CServer, assembled: log, partitions, edge, operations port.  The one place that opens anything."""

import grpc

from bennu.domain.app import App
from bennu.limits import MAX_FRAME_BYTES, MAX_METADATA_BYTES
from bennu.log.port import Log
from bennu.members.group import Group, Identity
from bennu.ops import grpc_port, topics
from bennu.ops.apps import load_app
from bennu.ops.failures import RuleFailures
from bennu.ops.grpc_port import advertised, bind, serving
from bennu.ops.interpreter import settle
from bennu.ops.logs import open_log
from bennu.ops.pages import large_pages
from bennu.ops.prepare import Told, prepare
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

OPTIONS = (
    *grpc_port.OPTIONS,
    ("grpc.max_receive_message_length", 2 * MAX_FRAME_BYTES),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.http2.min_ping_interval_without_data_ms", PING_EVERY_MS // 2),
)


async def main(settings: CServerSettings, running: Running) -> None:
    """Serve until asked to stop."""
    app, clock, peers = load_app(settings.app), SystemClock(), Peers()
    observed = Observed(running.metrics, running.readiness, settings.partitions)
    async with open_log(settings) as log:
        server = grpc.aio.server(options=OPTIONS)
        port = bind(server, settings.grpc, what="grpc", insecure_bind=settings.insecure_bind)
        me = Identity("cserver", running.node, advertised(settings.advertise, settings.grpc, port))
        node = node_of(app, settings, log, clock=clock, me=me)
        intake, failed = Intake(app, clock.wall_us), RuleFailures(running.metrics)
        places = [(number, settings.partitions) for number in range(settings.partitions)]
        members = [Member(app, place, node=node, intake=intake, failed=failed) for place in places]
        routes = Routes(app, members, group=node.group, peers=peers)
        edge, frames = Edge(routes, intake, observed), stream.Stream(routes, intake, observed)
        others = peer_service.PeerService(routes, intake)
        looks = inspection.Inspection(routes)
        server.add_generic_rpc_handlers((edge.handlers(), frames.handlers(), others.handlers(), looks.handlers()))
        services = (app.service.full_name, stream.SERVICE, peer_service.SERVICE, inspection.SERVICE)
        needed = [topics.members(app.name), *(topic for member in members for topic in member.topics)]
        told = Told(app.name, settings.partitions)
        try:
            async with serving(server, services, running.readiness):
                settle()
                running.announce(grpc=f"{settings.grpc.rpartition(':')[0]}:{port}")
                if await unless(running.stop, prepare(log, needed, told, embedded=settings.log_is_embedded)):
                    async with large_pages(over=lambda: all(member.has_read for member in members)):
                        await run_all(node, members, clock, observed=observed, stopping=running.stop)
        finally:
            await peers.close()


def node_of(app: App, settings: CServerSettings, log: Log, *, clock: Clock, me: Identity) -> Node:
    """This process among the others of its service."""
    window_count = max(1, settings.window_count // settings.partitions)
    candidate = Candidate(me.node, window_count, settings.window_age_ms)
    snapshots = snapshots_at(settings.postgres, every_s=settings.snapshot_every_s, name=me.node)
    return Node(
        log, candidate, Group(log, topics.members(app.name), me, clock=clock), snapshots, Pauses(clock.monotonic_us)
    )
