"""A process's part in one partition: follow, take over when it is its turn, lead, and follow again.

CServer and Saga are the same machine with different rules: each says here what its memory is, what it does while it
leads, and nothing else.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import Generic, Protocol, TypeVar, cast

import structlog

from bennu.errors import Diverged, UnknownToBuild
from bennu.limits import STOP_GRACE_MS
from bennu.members.limits import SILENCE_MS
from bennu.ops.pulse import Pulse
from bennu.ops.stopping import before, unless
from bennu.replica.clock import Clock
from bennu.replica.fenced import SteppedDown
from bennu.replica.journal import Position
from bennu.replica.leader import Replica
from bennu.replica.node import Node
from bennu.replica.seat import Heir, OwnSeat
from bennu.replica.state import Fold, ReplicaState
from bennu.replica.tail import Pace, follow
from bennu.v1.members_pb2 import (
    SEAT_PART_FOLLOWS,
    SEAT_PART_LEADS,
    SEAT_PART_STARTING,
    SEAT_PART_STOPPED,
    Seat,
    SeatPart,
)

logger = structlog.get_logger()


class Observer(Protocol):
    """Who is told."""

    def leading(self, number: int, leads: bool, *, reason: str) -> None:
        """This process leads the partition, or why it does not."""

    def following(self, number: int, leader: str) -> None:
        """This process follows the partition, and who leads; empty if nobody is known to."""


class Leader(Protocol):
    """A leader's work on one partition."""

    async def lead(self) -> None:
        """Until told to stop and done.  Raises `SteppedDown`, or `Final` errors."""

    def stop(self) -> None:
        """Finish what is under way, then return from `lead`."""

    @property
    def stopping(self) -> bool:
        """It was told to stop."""


F = TypeVar("F", bound=Fold)
P = TypeVar("P", bound=Leader)
O = TypeVar("O", bound=Observer)  # noqa: E741  one letter, as the others


class Member(ABC, Generic[F, P, O]):
    """One partition of a service in this process.  `partition` is None while it does not lead."""

    def __init__(self, topic: str, place: tuple[int, int], *, node: Node) -> None:
        """`place`: number of the partition, and how many there are."""
        self.topic = topic
        self.number, self.partitions = place
        self.partition: P | None = None
        self.log = node.log
        self.group = node.group
        self._candidate = node.candidate
        self._snapshots = node.snapshots
        self._memory: tuple[Replica, F] | None = None
        self._seat = OwnSeat(self.number)
        self._turn = asyncio.Event()
        self._turn_after = 0
        self._yield = asyncio.Event()
        self._moved = Pulse()
        self._pace = Pace()
        self._observed: O | None = None
        node.group.join(self)

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
    def turn_away(self, partition: P) -> None:
        """Another one takes over: let go of what waits and was not begun."""

    @abstractmethod
    def ended(self, partition: P) -> None:
        """It leads no more."""

    # --- what the group asks

    def seat(self) -> Seat:
        """As a heartbeat says it."""
        return self._seat.told(self._memory[0].position if self._memory else Position(self.topic))

    def your_turn(self, epoch: int) -> None:
        """Nobody leads by this epoch, and this process is to propose the next one."""
        self._turn_after = epoch
        self._turn.set()

    def hand_over(self, successor: str, *, pinned: bool) -> None:
        """Finish what is under way and lead no more."""
        if self.partition is not None and self._seat.heir is None:
            self._seat.heir = Heir(successor, pinned)
            self._yield.set()

    def led_by(self, node: str) -> None:
        """Who leads now, as far as is known."""
        if self._seat.follows and self._observed is not None:
            self._observed.following(self.number, node)

    # --- what readers of memory ask

    @property
    def followed(self) -> tuple[Replica, F] | None:
        """What this process has read, all of it effective, while it follows and has caught up; else None."""
        return self._memory if self._seat.follows else None

    @property
    def has_read(self) -> bool:
        """It follows and has caught up, or leads: what the journal held at first is in memory."""
        return self.partition is not None or self.followed is not None

    async def soon_leads(self, timeout_s: float) -> P | None:
        """Its work as a leader, once it leads and does not stop to; None if that takes too long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self.partition is None or self.partition.stopping:
                    await self._moved.wait()
                return self.partition
        return None

    async def reached(self, batch_no: int, timeout_s: float) -> bool:
        """Wait until this batch was read as effective; whether it was in time."""
        try:
            async with asyncio.timeout(timeout_s):
                with self._pace.hurry():
                    while self.followed is None or self.followed[0].position.batch_no < batch_no:
                        await self._moved.wait()
        except TimeoutError:
            return False
        return True

    # --- what all do

    def _now(self, part: SeatPart.ValueType, reason: str = "") -> None:
        self._seat.part, self._seat.reason = part, reason
        self._moved.beat()
        self.group.changed()

    async def _begin(self, clock: Clock) -> tuple[Replica, F]:
        def blank() -> ReplicaState:
            return ReplicaState(self.new_fold(), partition=self.number, partitions=self.partitions)

        kept = await self._snapshots.begin(self.log, self.topic, blank) if self._snapshots else None
        state, position = kept or (blank(), Position(self.topic))
        return Replica(self.log, position, state, clock=clock), cast(F, state.fold)  # which `new_fold` made

    async def _remember(self, clock: Clock) -> None:
        self._memory = await self._begin(clock)

    async def look(self, clock: Clock) -> None:
        """Read what the journal says by now, and claim nothing.  Raises `BadSettings` where this app must not lead.

        To be done for all partitions before `run`: a wrong app then takes none of them from its leader.
        """
        self._memory = replica, fold = await self._begin(clock)
        await replica.journal.read_to_tail()
        self.check(fold)

    async def run(self, clock: Clock, observed: O, stopping: asyncio.Event) -> None:
        """Until stopped.  Raises `Final` errors; anything that can be mended by rebuilding is."""
        self._observed = observed
        while not stopping.is_set():
            if self._memory is None and not await unless(stopping, self._remember(clock)):
                return
            assert self._memory is not None
            replica, fold = self._memory
            try:
                if not await unless(stopping, self._follow(replica)):
                    return
                if await self._propose(replica, fold, stopping):
                    await self._lead(self.new_leader(replica, fold, observed), observed, stopping)
            except SteppedDown as error:
                observed.leading(self.number, False, reason=str(error))
                logger.warning("leads no more; follows from the log", partition=self.number, reason=str(error))
            except (Diverged, UnknownToBuild) as error:
                await self._follow_no_more(error, stopping)
            replica.step_aside()
            if replica.spoilt:
                self._memory = None
            self._now(SEAT_PART_STARTING)

    # --- following

    async def _follow(self, replica: Replica) -> None:
        """Evolve what others append; returns when it is this process's turn to propose."""
        self._turn.clear()
        await unless(self._turn, self._evolve(replica))

    async def _evolve(self, replica: Replica) -> None:
        """For ever; where there are snapshots, standing still for the ones that are due."""
        while True:
            following = follow(replica, self._pace, moved=self._step, caught_up=lambda: self._now(SEAT_PART_FOLLOWS))
            if self._snapshots is None:
                return await following
            if await before(self._snapshots.due(self.topic), following):
                return None
            await self._snapshots.take(replica.state, replica.position)

    def _step(self) -> None:
        assert self._memory is not None
        position = self._memory[0].position
        self.group.alive(self.number, position.epoch, position.term)
        self._moved.beat()

    async def _follow_no_more(self, error: Diverged | UnknownToBuild, stopping: asyncio.Event) -> None:
        """While another process leads, what this one does not understand is no reason to end.  Else raises it."""
        self._now(SEAT_PART_STOPPED, str(error))
        if not await self._somebody_leads():
            raise error
        assert self._observed is not None
        self._observed.leading(self.number, False, reason=str(error))
        logger.error("follows no more and can't take over", partition=self.number, reason=str(error))
        await stopping.wait()

    async def _somebody_leads(self) -> bool:
        """Whoever lives is heard within the time after which it would be suspected."""
        until_s = asyncio.get_running_loop().time() + 2 * SILENCE_MS / 1000
        while asyncio.get_running_loop().time() < until_s:
            if self.group.somebody_leads(self.number):
                return True
            await self.group.wait_changed(SILENCE_MS / 1000)
        return False

    # --- leading

    async def _propose(self, replica: Replica, fold: F, stopping: asyncio.Event) -> bool:
        """Whether this process leads now; not if another one has begun to since it was our turn."""
        self.check(fold)
        if replica.position.epoch != self._turn_after:
            return False
        release = self.group.named(self.seat())
        self._seat.lead_next(pinned=release is not None and release.pinned)
        self._yield.clear()
        await unless(stopping, replica.take_over(self._candidate, named=release is not None))
        self._moved.beat()
        return replica.leading and not stopping.is_set()

    async def _lead(self, partition: P, observed: O, stopping: asyncio.Event) -> None:
        self.partition = partition
        self._now(SEAT_PART_LEADS)
        observed.leading(self.number, True, reason="")
        logger.info("leads", partition=self.number, topic=self.topic)
        beside = asyncio.create_task(self.beside(partition, observed))
        leading = asyncio.create_task(partition.lead())
        stop, yielding = asyncio.create_task(stopping.wait()), asyncio.create_task(self._yield.wait())
        tasks = (beside, leading, stop, yielding)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            beside.cancel()
            if stop.done() and self._seat.heir is None:
                self._seat.heir = Heir(self.group.successor(self.number))
            if self._seat.heir is not None and self._seat.heir.node:
                self.turn_away(partition)
            partition.stop()
            await asyncio.wait((leading,), timeout=STOP_GRACE_MS / 1000)  # a log that is away must not keep us
        finally:
            self.partition = None
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)  # nothing is read or sent for a leadership that is over
            self._release()
            self.ended(partition)
            problems = [None if task.cancelled() else task.exception() for task in (leading, beside)]
        for problem in problems:  # in this order: what is wrong beside may follow from having been deposed
            if problem is not None:
                raise problem
        observed.leading(self.number, False, reason="given up in order")

    def _release(self) -> None:
        """Say that nobody leads by our term any more, where we end it ourselves."""
        assert self._memory is not None
        replica, _ = self._memory
        if replica.leading and self._seat.heir is not None:
            self._seat.release(replica.position)
            self.group.gave_up(self.seat())
            logger.info("gives up its partition", partition=self.number, successor=self._seat.heir.node or "anybody")


async def run_all(
    node: Node, members: Sequence[Member[F, P, O]], clock: Clock, *, observed: O, stopping: asyncio.Event
) -> None:
    """The whole of a process's part in its service, until stopped; what it led is released before it says goodbye."""
    async with asyncio.TaskGroup() as tasks:
        group = tasks.create_task(node.group.run())
        retiring = tasks.create_task(_retire(node, stopping))
        async with asyncio.TaskGroup() as all_members:
            for member in members:
                all_members.create_task(member.run(clock, observed, stopping))
        await node.group.leave()
        group.cancel()
        retiring.cancel()


async def _retire(node: Node, stopping: asyncio.Event) -> None:
    await stopping.wait()
    node.group.retire()
