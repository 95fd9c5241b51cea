"""A process's part in one partition of sagas: follow, take over, lead; and again from nothing when stepping down."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import structlog

from bennu.errors import BadSettings
from bennu.limits import STOP_GRACE_MS
from bennu.log.port import Log
from bennu.ops.stopping import unless
from bennu.replica.clock import Clock
from bennu.replica.fenced import Deposed, SteppedDown
from bennu.replica.leader import Candidate, Replica
from bennu.replica.state import ReplicaState
from bennu_saga.definitions import Definitions
from bennu_saga.dispatcher import Dispatcher
from bennu_saga.event_input import EventJournalReader
from bennu_saga.fold import SagaFold
from bennu_saga.observed import Observed
from bennu_saga.reactor import Reactor
from bennu_saga.saga_loop import Partition
from bennu_saga.signals import Signals
from bennu_saga.state import COMPENSATION_FAILED
from bennu_saga.survey import Survey

logger = structlog.get_logger()


class Member:
    """One partition of an app's sagas in this process.  `partition` is None while it does not lead."""

    def __init__(
        self, definitions: Definitions, number: int, partitions: int, *, log: Log, candidate: Candidate
    ) -> None:
        name = definitions.app.name
        self.number, self.partitions = number, partitions
        self.saga_topic = f"{name}-saga-{number}"
        self.event_topics = [f"{name}-events-{source}" for source in range(partitions)]
        self.command_topics = [f"{name}-commands-{target}" for target in range(partitions)]
        self.partition: Partition | None = None
        self._definitions = definitions
        self._log, self._candidate = log, candidate
        self._followed: tuple[Replica, SagaFold] | None = None

    async def follow(self, clock: Clock) -> None:
        """Read what the journal says by now, and claim nothing.  Raises `BadSettings` where this app must not lead.

        To be done for all partitions before `run`: a wrong app then takes none of them from its leader.
        """
        self._followed = self._nothing(clock)
        replica, fold = self._followed
        await replica.journal.read_to_tail()
        self._check_versions(fold)

    def _nothing(self, clock: Clock) -> tuple[Replica, SagaFold]:
        fold = SagaFold()
        state = ReplicaState(fold, partition=self.number, partitions=self.partitions)
        return Replica(self._log, self.saga_topic, state, clock), fold

    async def run(self, clock: Clock, observed: Observed, stopping: asyncio.Event) -> None:
        """Until stopped.  Raises `Final` errors; anything that can be mended by rebuilding is."""
        while not stopping.is_set():
            replica, fold = self._followed or self._nothing(clock)
            self._followed = None
            try:
                if not await unless(stopping, replica.take_over(self._candidate)):
                    return
                self._check_versions(fold)
                await self._lead(replica, fold, observed, stopping)
            except Deposed as error:
                observed.leading(self.number, False, reason=str(error))
                logger.warning("deposed", partition=self.number, reason=str(error))
                await self._stand_by(stopping)
            except SteppedDown as error:
                observed.leading(self.number, False, reason=str(error))
                logger.warning("stepped down; rebuilding from the log", partition=self.number, reason=str(error))

    def _check_versions(self, fold: SagaFold) -> None:
        """Sagas end on the definition they began with: an app that lacks it must not lead."""
        under_way = Counter((s.definition, s.version) for s in fold.sagas.values() if s.status != COMPENSATION_FAILED)
        for (name, version), count in under_way.items():
            if self._definitions.get(name, version) is None:
                raise BadSettings(
                    f"{self.saga_topic}: {count} sagas of {name}, version {version}, are under way, but app "
                    f"`{self._definitions.app.name}` does not declare it; run the app that does until they have ended"
                )

    async def _lead(self, replica: Replica, fold: SagaFold, observed: Observed, stopping: asyncio.Event) -> None:
        partition = Partition(replica, fold, Reactor(self._definitions, fold, self.partitions))
        self.partition = partition
        observed.leading(self.number, True, reason="")
        observed.begin(self.number, fold)
        partition.when_effective.append(lambda: observed.effective(self.number, fold, partition.take_notes()))
        logger.info("leads", partition=self.number, epoch=replica.position.epoch, offset=replica.position.offset)
        beside = asyncio.create_task(self._beside(partition, observed))
        leading = asyncio.create_task(partition.lead())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((beside, leading, stop), return_when=asyncio.FIRST_COMPLETED)
            partition.stop()
            beside.cancel()
            await asyncio.wait((leading,), timeout=STOP_GRACE_MS / 1000)  # a log that is away must not keep us
        finally:
            self.partition = None
            for task in (beside, leading, stop):
                task.cancel()
            await asyncio.wait((beside, leading, stop))  # nothing is read or sent for a leadership that is over
        for task in (leading, beside):  # in this order: what is wrong beside may follow from having been deposed
            if not task.cancelled():
                task.result()

    async def _beside(self, partition: Partition, observed: Observed) -> None:
        """What a leader does beside reacting: read events, send commands, keep time.  For ever."""
        fold, source = partition.fold, self.saga_topic
        signals = Signals(self._definitions, source, (self.number, self.partitions))
        boxes = [fold.outbox.box(topic) for topic in dict.fromkeys((*self.command_topics, *fold.outbox.boxes))]
        async with asyncio.TaskGroup() as group:
            for number, topic in enumerate(self.event_topics):
                reader = EventJournalReader(signals, topic, (number, self.partitions))
                group.create_task(reader.feed(self._log, partition))
            for box in boxes:
                dispatcher = Dispatcher(self._log, source, box, confirmed=partition.confirmed)
                partition.when_effective.append(dispatcher.wake)
                group.create_task(dispatcher.run())
            group.create_task(Survey(self._log, partition, self.event_topics, observed=observed).run())

    async def _stand_by(self, stopping: asyncio.Event) -> None:
        """Another process leads.  Until members watch each other, an operator decides who does: see docs/adr/0002."""
        logger.warning(
            "standing by: another process leads this partition; stop it and restart this one to change that",
            partition=self.number,
        )
        await stopping.wait()


async def follow_all(members: Sequence[Member], clock: Clock) -> None:
    """See `Member.follow`."""
    for member in members:
        await member.follow(clock)
