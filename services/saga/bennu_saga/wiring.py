"""Saga, assembled: log, partitions, both ports.  The one place that opens anything."""

import grpc

from bennu.members.group import Group, Identity
from bennu.ops import topics
from bennu.ops.apps import load_app
from bennu.ops.failures import RuleFailures
from bennu.ops.grpc_port import OPTIONS, advertised, bind, serving
from bennu.ops.interpreter import settle
from bennu.ops.logs import open_log
from bennu.ops.prepare import Told, count, prepare
from bennu.ops.run import Running
from bennu.ops.stopping import unless
from bennu.replica.clock import SystemClock
from bennu.replica.leader import Candidate
from bennu.replica.member import run_all
from bennu.replica.node import Node
from bennu.snapshots.follower import snapshots_at
from bennu_saga import admin
from bennu_saga.definitions import Definitions
from bennu_saga.member import Member, look_at_all
from bennu_saga.observed import Observed
from bennu_saga.settings import SagaSettings


async def main(settings: SagaSettings, running: Running) -> None:
    """Serve until asked to stop."""
    definitions = Definitions(load_app(settings.app), RuleFailures(running.metrics))
    clock = SystemClock()
    observed = Observed(running.metrics, running.readiness, settings.partitions, definitions=definitions)
    candidate = Candidate(running.node, window_count=0, window_age_ms=0)  # no client asks again for a reply
    async with open_log(settings) as log:
        members_log = topics.members(definitions.app.name)
        server = grpc.aio.server(options=OPTIONS)
        port = bind(server, settings.admin, what="admin", insecure_bind=settings.insecure_bind)
        address = advertised(settings.admin_advertise, settings.admin, port, what="admin_advertise")
        group = Group(log, members_log, Identity("saga", running.node, address), clock=clock)
        snapshots = snapshots_at(settings.postgres, every_s=settings.snapshot_every_s, name=running.node)
        node = Node(log, candidate, group, snapshots)
        settle()
        running.announce(admin=f"{settings.admin.rpartition(':')[0]}:{port}")
        others: dict[str, int] = {}
        names = [app.name for app in definitions.app.apps[1:]]
        if not await unless(running.stop, count(log, names, others, readiness=running.readiness)):
            return
        places = [(number, settings.partitions) for number in range(settings.partitions)]
        members = [Member(definitions, place, node=node, others=others) for place in places]
        needed = dict.fromkeys((members_log, *(topic for member in members for topic in member.topics)))
        told = Told(definitions.app.name, settings.partitions)
        if not await unless(running.stop, prepare(log, needed, told, embedded=settings.log_is_embedded)):
            return
        if not await unless(running.stop, look_at_all(members, clock)):
            return
        server.add_generic_rpc_handlers((admin.Admin(definitions, members, group).handlers(),))
        async with serving(server, (admin.SERVICE,), running.readiness):
            await run_all(node, members, clock, observed=observed, stopping=running.stop)
