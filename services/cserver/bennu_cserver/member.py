"""A process's part in one partition: follow, take over, lead; and again from nothing when stepping down."""

import asyncio

import structlog

from bennu.domain.app import App
from bennu.limits import STOP_GRACE_MS
from bennu.log.port import Log
from bennu.ops.stopping import unless
from bennu.replica.clock import Clock
from bennu.replica.fenced import Deposed, SteppedDown
from bennu.replica.fold import AggregateFold
from bennu.replica.leader import Candidate, Replica
from bennu.replica.state import ReplicaState
from bennu_cserver.command_loop import Partition
from bennu_cserver.intake import Intake
from bennu_cserver.log_input import CommandLogReader
from bennu_cserver.observed import Observed

logger = structlog.get_logger()


class Member:
    """One partition of an app in this process.  `partition` is None while it does not lead."""

    def __init__(self, app: App, number: int, partitions: int, *, log: Log, candidate: Candidate) -> None:
        self.app, self.number, self.partitions = app, number, partitions
        self.events_topic = f"{app.name}-events-{number}"
        self.commands_topic = f"{app.name}-commands-{number}"
        self.partition: Partition | None = None
        self._log, self._candidate = log, candidate

    async def run(self, intake: Intake, clock: Clock, observed: Observed, stopping: asyncio.Event) -> None:
        """Until stopped.  Raises `Final` errors; anything that can be mended by rebuilding is."""
        while not stopping.is_set():
            fold = AggregateFold(self.app)
            state = ReplicaState(fold, partition=self.number, partitions=self.partitions)
            replica = Replica(self._log, self.events_topic, state, clock)
            try:
                if not await unless(stopping, replica.take_over(self._candidate)):
                    return
                await self._lead(Partition(replica, fold), intake, observed, stopping)
            except Deposed as error:
                observed.leading(self.number, False, str(error))
                logger.warning("deposed", partition=self.number, reason=str(error))
                await self._stand_by(stopping)
            except SteppedDown as error:
                observed.leading(self.number, False, str(error))
                logger.warning("stepped down; rebuilding from the log", partition=self.number, reason=str(error))

    async def _lead(self, partition: Partition, intake: Intake, observed: Observed, stopping: asyncio.Event) -> None:
        replica = partition.replica
        reader = CommandLogReader(self.app, self.commands_topic, (self.number, self.partitions), observed=observed)
        self.partition = partition
        observed.leading(self.number, True, "")
        logger.info("leads", partition=self.number, epoch=replica.position.epoch, offset=replica.position.offset)
        feeding = asyncio.create_task(reader.feed(self._log, partition, intake))
        leading = asyncio.create_task(partition.lead())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((feeding, leading, stop), return_when=asyncio.FIRST_COMPLETED)
            partition.stop()
            feeding.cancel()
            await asyncio.wait((leading,), timeout=STOP_GRACE_MS / 1000)  # a log that is away must not keep us
        finally:
            self.partition = None
            for task in (feeding, leading, stop):
                task.cancel()
            await asyncio.wait((feeding, leading, stop))  # nothing is read or sent for a leadership that is over
            partition.abandon()
        for task in (leading, feeding):  # in this order: what is wrong with feeding may follow from being deposed
            if not task.cancelled():
                task.result()

    async def _stand_by(self, stopping: asyncio.Event) -> None:
        """Another process leads.  Until members watch each other, an operator decides who does: see docs/adr/0002."""
        logger.warning(
            "standing by: another process leads this partition; stop it and restart this one to change that",
            partition=self.number,
        )
        await stopping.wait()
