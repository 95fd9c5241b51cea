"""A process's part in one partition: follow, take over, lead; and again from nothing when stepping down.

CServer and Saga are the same machine with different rules: each says here what its memory is, what it does while it
leads, and nothing else.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

import structlog

from bennu.limits import STOP_GRACE_MS
from bennu.log.port import Log
from bennu.ops.stopping import unless
from bennu.replica.clock import Clock
from bennu.replica.fenced import Deposed, SteppedDown
from bennu.replica.leader import Candidate, Replica
from bennu.replica.state import Fold, ReplicaState

logger = structlog.get_logger()


class Observer(Protocol):
    """Who is told."""

    def leading(self, number: int, leads: bool, *, reason: str) -> None:
        """This process leads the partition, or why it does not."""


class Leader(Protocol):
    """A leader's work on one partition."""

    async def lead(self) -> None:
        """Until told to stop and done.  Raises `SteppedDown`, or `Final` errors."""

    def stop(self) -> None:
        """Finish what is under way, then return from `lead`."""


F = TypeVar("F", bound=Fold)
P = TypeVar("P", bound=Leader)
O = TypeVar("O", bound=Observer)  # noqa: E741  one letter, as the others


class Member(ABC, Generic[F, P, O]):
    """One partition of a service in this process.  `partition` is None while it does not lead."""

    def __init__(self, topic: str, place: tuple[int, int], *, log: Log, candidate: Candidate) -> None:
        self.topic = topic
        self.number, self.partitions = place
        self.partition: P | None = None
        self.log = log
        self._candidate = candidate
        self._followed: tuple[Replica, F] | None = None

    # --- what a service adds

    @abstractmethod
    def new_fold(self) -> F:
        """The memory of a process that has read nothing."""

    @abstractmethod
    def check(self, fold: F) -> None:
        """Raise `BadSettings` where this app must not lead what the journal holds."""

    @abstractmethod
    def new_leader(self, replica: Replica, fold: F, observed: O) -> P:
        """The work of a leader; `replica` leads already."""

    @abstractmethod
    async def beside(self, partition: P, observed: O) -> None:
        """What a leader does beside `lead`, such as reading its inputs; for ever."""

    @abstractmethod
    def ended(self, partition: P) -> None:
        """It leads no more."""

    # --- what all do

    async def follow(self, clock: Clock) -> None:
        """Read what the journal says by now, and claim nothing.  Raises `BadSettings` where this app must not lead.

        To be done for all partitions before `run`: a wrong app then takes none of them from its leader.
        """
        self._followed = self._nothing(clock)
        replica, fold = self._followed
        await replica.journal.read_to_tail()
        self.check(fold)

    def _nothing(self, clock: Clock) -> tuple[Replica, F]:
        fold = self.new_fold()
        state = ReplicaState(fold, partition=self.number, partitions=self.partitions)
        return Replica(self.log, self.topic, state, clock=clock), fold

    async def run(self, clock: Clock, observed: O, stopping: asyncio.Event) -> None:
        """Until stopped.  Raises `Final` errors; anything that can be mended by rebuilding is."""
        while not stopping.is_set():
            replica, fold = self._followed or self._nothing(clock)
            self._followed = None
            try:
                if not await unless(stopping, replica.take_over(self._candidate)):
                    return
                self.check(fold)
                await self._lead(self.new_leader(replica, fold, observed), observed, stopping)
            except Deposed as error:
                observed.leading(self.number, False, reason=str(error))
                logger.warning("deposed", partition=self.number, reason=str(error))
                await self._stand_by(stopping)
            except SteppedDown as error:
                observed.leading(self.number, False, reason=str(error))
                logger.warning("stepped down; rebuilding from the log", partition=self.number, reason=str(error))

    async def _lead(self, partition: P, observed: O, stopping: asyncio.Event) -> None:
        self.partition = partition
        observed.leading(self.number, True, reason="")
        logger.info("leads", partition=self.number, topic=self.topic)
        beside = asyncio.create_task(self.beside(partition, observed))
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
            self.ended(partition)
            problems = [None if task.cancelled() else task.exception() for task in (leading, beside)]
        for problem in problems:  # in this order: what is wrong beside may follow from having been deposed
            if problem is not None:
                raise problem

    async def _stand_by(self, stopping: asyncio.Event) -> None:
        """Another process leads.  Until members watch each other, an operator decides who does: see docs/adr/0002."""
        logger.warning(
            "standing by: another process leads this partition; stop it and restart this one to change that",
            partition=self.number,
        )
        await stopping.wait()
