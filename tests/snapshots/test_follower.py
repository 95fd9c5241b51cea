"""A follower begins from a snapshot, takes one when it is due, and drops it when it is to lead."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from unittest.mock import Mock

import pytest
import structlog

from bank.app import app
from bennu.errors import Unavailable
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.clock import SystemClock
from bennu.replica.journal import Position
from bennu.replica.state import ReplicaState
from bennu.snapshots import follower, spool
from bennu.snapshots.follower import Snapshots
from bennu.snapshots.spool import Spool
from bennu.snapshots.store import SnapshotStore, Written
from bennu_cserver.intake import Intake
from bennu_cserver.member import Member
from bennu_cserver.observed import Observed
from tests.lone import lone
from tests.snapshots.replicas import TOPIC, Bank, content, new_state, replica, stored

SOON_S = 0.01
IN_TIME_S = 30.0


class Watched(Snapshots):
    """Real ones; `taken` is set when one was taken by this process."""

    def __init__(self, store: SnapshotStore, *, every_s: float) -> None:
        super().__init__(store, every_s=every_s)
        self.taken = asyncio.Event()
        self.batch_no = 0
        """That the newest one holds."""

    async def _write(self, spool: Spool, position: Position) -> None:
        await super()._write(spool, position)
        self.batch_no = position.batch_no
        self.taken.set()


class Endless(Snapshots):
    """One is due at once, and never done; `standing` is set meanwhile, `given_up` when it was cancelled."""

    def __init__(self, store: SnapshotStore) -> None:
        super().__init__(store, every_s=SOON_S)
        self.standing, self.given_up = asyncio.Event(), asyncio.Event()

    async def take(self, state: ReplicaState, position: Position) -> None:
        self.standing.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up.set()


@asynccontextmanager
async def following(log: MemoryLog, snapshots: Snapshots) -> AsyncIterator[Member]:
    """A process that follows until it is told that it is its turn: nobody runs its group."""
    clock, stopping = SystemClock(), asyncio.Event()
    node = replace(lone(log, clock=clock), snapshots=snapshots)
    member = Member(app, (0, 1), node=node, intake=Intake(app, clock.wall_us))
    await log.create(member.commands_topic)
    running = asyncio.create_task(member.run(clock, Mock(spec=Observed), stopping))
    try:
        yield member
    finally:
        stopping.set()
        await running


async def written() -> tuple[MemoryBroker, MemoryLog, Bank]:
    """A journal with some batches."""
    broker = MemoryBroker(Random(0))
    log = MemoryLog(broker)
    bank = Bank(log)
    await bank.begins()
    await bank.writes(10)
    return broker, log, bank


@pytest.mark.real
def test_a_follower_takes_one_when_it_is_due_and_follows_on(database: str) -> None:
    """What came meanwhile is evolved afterwards; and another process begins where the snapshot ends."""

    async def work() -> None:
        broker, log, bank = await written()
        snapshots = Watched(SnapshotStore(database, name="test"), every_s=SOON_S)
        async with following(log, snapshots) as member:
            await snapshots.taken.wait()
            await bank.writes(10)
            assert await member.reached(20, IN_TIME_S)
            while snapshots.batch_no < 20:
                snapshots.taken.clear()
                await snapshots.taken.wait()
        whole, _ = await replica(log)
        broker.expire_before(TOPIC, bank.writer.position.offset - 5)
        async with following(log, Snapshots(SnapshotStore(database, name="test"), every_s=0)) as member:
            assert await member.reached(20, IN_TIME_S)
            assert member.followed is not None
            assert content(member.followed[0].state) == content(whole)

    asyncio.run(work())


@pytest.mark.real
def test_a_follower_that_is_to_lead_gives_its_snapshot_up(database: str) -> None:
    """At once: a partition without a leader is worse than a snapshot less."""

    async def work() -> None:
        _, log, bank = await written()
        snapshots = Endless(SnapshotStore(database, name="test"))
        async with following(log, snapshots) as member:
            await snapshots.standing.wait()
            await bank.writes(3)
            member.your_turn(bank.writer.position.epoch)
            async with asyncio.timeout(IN_TIME_S):
                await snapshots.given_up.wait()
                while member.partition is None:
                    await member._moved.wait()
            assert member.partition.replica.position.epoch == bank.writer.position.epoch + 1

    asyncio.run(work())


class Stuck(SnapshotStore):
    """A Postgres that takes nothing; `asked` is set when it is written to."""

    def __init__(self) -> None:
        super().__init__("postgresql://nobody@127.0.0.1/none", name="test")
        self.asked, self.looked, self.let_go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def age_s(self, topic: str) -> float | None:
        self.looked.set()
        return None

    async def write(self, *_anything: object, **_more: object) -> Written:
        self.asked.set()
        await self.let_go.wait()
        raise Unavailable("it is away")


def test_a_state_does_not_stand_still_for_postgres() -> None:
    """It goes on once it was copied; and no other snapshot of it is due until that copy is written, or is not."""

    async def work() -> None:
        store = Stuck()
        snapshots = Snapshots(store, every_s=SOON_S)
        async with asyncio.timeout(IN_TIME_S):
            await snapshots.take(new_state(), Position(TOPIC, offset=1, batch_no=1))
            await store.asked.wait()
            due = asyncio.create_task(snapshots.due(TOPIC))
            other = asyncio.create_task(snapshots.due("bank-events-1"))
            await other
            assert not due.done()
            store.let_go.set()
            await due

    asyncio.run(work())


def test_no_room_for_a_copy_costs_a_follower_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It follows on; nothing is written."""

    def no_room() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def work() -> None:
        store = Stuck()
        with structlog.testing.capture_logs() as lines:
            await Snapshots(store, every_s=SOON_S).take(new_state(), Position(TOPIC, offset=1, batch_no=1))
        assert [line["event"] for line in lines] == ["no snapshot was made"]
        assert not store.asked.is_set()

    monkeypatch.setattr(spool, "TemporaryFile", no_room)
    asyncio.run(work())


class Counting(SnapshotStore):
    """`looked` is set after three looks."""

    def __init__(self, database: str) -> None:
        super().__init__(database, name="test")
        self.looks, self.looked = 0, asyncio.Event()

    async def age_s(self, topic: str) -> float | None:
        self.looks += 1
        if self.looks > 3:
            self.looked.set()
        return await super().age_s(topic)


@pytest.mark.real
@pytest.mark.parametrize("every_s", [3600.0, 0.0])
def test_none_is_due_while_one_is_young_or_none_is_wanted(
    database: str, every_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever took it: all followers of a journal look at the same table."""
    monkeypatch.setattr(follower, "LOOK_EVERY_S", SOON_S)

    async def work() -> None:
        _, log, _ = await written()
        store = Counting(database)
        if every_s:
            await stored(SnapshotStore(database, name="another"), log)
        due = asyncio.create_task(Snapshots(store, every_s=every_s).due(TOPIC))
        if every_s:
            await store.looked.wait()
        else:
            await asyncio.sleep(5 * SOON_S)
            assert store.looks == 0
        assert not due.done()
        due.cancel()

    asyncio.run(work())


def test_postgres_that_is_away_costs_a_follower_a_line() -> None:
    """It follows on, and looks again."""

    async def work() -> list[str]:
        _, log, _ = await written()
        store = Counting("postgresql://u:p@127.0.0.1:1/none")
        snapshots = Snapshots(store, every_s=SOON_S)
        with structlog.testing.capture_logs() as said:
            await snapshots.take(*await replica(log))
            due = asyncio.create_task(snapshots.due(TOPIC))
            await store.looked.wait()
            due.cancel()
        return [line["event"] for line in said]

    assert asyncio.run(work())[:3] == ["no snapshot was taken", "can't look for snapshots", "can't look for snapshots"]
