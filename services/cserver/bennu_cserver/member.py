"""A process's part in one partition of an app."""

import asyncio

from bennu.domain.app import App
from bennu.errors import Unavailable
from bennu.limits import LOG_LOOK_MS
from bennu.ops import topics
from bennu.replica.fold import AggregateFold, Failed, nobody_hears
from bennu.replica.leader import Replica
from bennu.replica.member import Member as AnyMember
from bennu.replica.node import Node
from bennu_cserver.command_loop import Partition
from bennu_cserver.intake import Intake
from bennu_cserver.log_input import CommandLogReader
from bennu_cserver.observed import Observed


class Member(AnyMember[AggregateFold, Partition, Observed]):
    """One partition of an app in this process."""

    def __init__(
        self, app: App, place: tuple[int, int], *, node: Node, intake: Intake, failed: Failed = nobody_hears
    ) -> None:
        """`place`: number of the partition, and how many there are; `failed` hears of rules that raise."""
        super().__init__(f"{app.name}-events-{place[0]}", place, node=node)
        self.commands_topic = f"{app.name}-commands-{place[0]}"
        self.numbered_sources = topics.numbered_sources(app.name, place[1], app.callers)
        self._app = app
        self._intake = intake
        self._failed = failed
        self.pauses = node.pauses

    @property
    def topics(self) -> list[str]:
        """All that it reads or writes."""
        return [self.topic, self.commands_topic]

    def new_fold(self) -> AggregateFold:
        return AggregateFold(self._app, self._failed)

    def check(self, fold: AggregateFold) -> None:
        """Replay stops at what the app does not know, so an app that has read the journal may lead it."""

    def new_leader(self, replica: Replica, fold: AggregateFold, observed: Observed) -> Partition:
        return Partition(replica, fold, self.pauses)

    async def beside(self, partition: Partition, observed: Observed) -> None:
        """Read the command log; look whether the log is there, for a leader without commands would not notice."""
        place = self.number, self.partitions
        reader = CommandLogReader(
            self._app, self.commands_topic, place, observed=observed, sources=self.numbered_sources
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(reader.feed(self.log, partition, self._intake))
            group.create_task(self._look_at_the_log(observed))

    async def _look_at_the_log(self, observed: Observed) -> None:
        while True:
            try:
                await self.log.bounds(self.topic)
                observed.log_answers(self.number)
            except Unavailable as error:
                observed.log_away(self.number, str(error))
            await asyncio.sleep(LOG_LOOK_MS / 1000)

    def turn_away(self, partition: Partition) -> None:
        """Their callers, or the edges that sent them on, ask the next leader."""
        partition.turn_away()

    def ended(self, partition: Partition) -> None:
        """Whoever still waits is told that the outcome is unknown."""
        partition.abandon()
