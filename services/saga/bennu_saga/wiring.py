"""Saga, assembled: log, partitions, operations port.  The one place that opens anything."""

import asyncio

from bennu.ops.apps import load_app
from bennu.ops.logs import open_log
from bennu.ops.prepare import prepare
from bennu.ops.run import Running
from bennu.ops.stopping import unless
from bennu.replica.clock import SystemClock
from bennu.replica.leader import Candidate
from bennu_saga.definitions import Definitions
from bennu_saga.member import Member, follow_all
from bennu_saga.observed import Observed
from bennu_saga.settings import SagaSettings


async def main(settings: SagaSettings, running: Running) -> None:
    """Serve until asked to stop."""
    definitions = Definitions(load_app(settings.app))
    clock = SystemClock()
    observed = Observed(running.metrics, running.readiness, settings.partitions)
    candidate = Candidate(running.node, window_count=0, window_age_ms=0)  # no client asks again for a reply
    async with open_log(settings) as log:
        members = [
            Member(definitions, (number, settings.partitions), log=log, candidate=candidate)
            for number in range(settings.partitions)
        ]
        running.announce()
        topics = dict.fromkeys(topic for member in members for topic in member.topics)
        if not await unless(running.stop, prepare(log, topics, embedded=settings.log_is_embedded)):
            return
        if not await unless(running.stop, follow_all(members, clock)):
            return
        async with asyncio.TaskGroup() as group:
            for member in members:
                group.create_task(member.run(clock, observed, running.stop))
