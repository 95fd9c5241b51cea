"""A journal of the bank, written as leaders would, and replicas of it."""

from collections.abc import Sequence
from random import Random

from google.protobuf.message import Message

from bank.app import app
from bank.v1.events_pb2 import AccountOpened, Deposited, TransferRequested
from bennu.log.port import Log
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import Position
from bennu.replica.state import ReplicaState
from bennu.snapshots.format import Draft, Header
from bennu.snapshots.once import catch_up
from bennu.snapshots.store import SnapshotStore
from bennu.v1.position_pb2 import LogPosition, StreamCursor
from tests.journal_writer import Entry, JournalWriter

TOPIC = "bank-events-0"
INPUT = "bank-imports-0"
"""An input log that no service of ours reads."""
BEGAN_US = 1_720_000_000_000_000
WINDOW = (40, 3_600_000)
"""Replies that these replicas keep, and for how long: few, so that some are forgotten."""


def new_state(*, partition: int = 0, partitions: int = 1) -> ReplicaState:
    """A replica that has read nothing."""
    return ReplicaState(AggregateFold(app), partition=partition, partitions=partitions)


class Bank:
    """The leader of one partition, as far as its journal shows."""

    def __init__(self, log: Log, *, seed: int = 0, term: int = 7) -> None:
        self.writer = JournalWriter(log, TOPIC)
        self.ids: list[str] = []
        """Of all commands, in order."""
        self._log = log
        self._term = term
        self._chance = Random(seed)
        self._accounts = 0
        self._now_us = BEGAN_US

    async def begins(self) -> None:
        """The next epoch."""
        await self._log.create(TOPIC)
        await self.writer.epoch(self._term + self.writer.position.epoch, recorded_at_us=self._now_us, window=WINDOW)

    async def writes(self, batches: int) -> None:
        """So many batches of a few commands each."""
        for _ in range(batches):
            await self._batch()

    async def _batch(self) -> None:
        self._now_us += self._chance.randrange(1_000, 5_000_000)
        entries = [Entry(self._id(), self._events()) for _ in range(self._chance.randrange(1, 9))]
        batch = self.writer.build(entries, recorded_at_us=self._now_us)
        batch.inputs.append(LogPosition(topic=INPUT, offset=len(self.ids)))
        batch.sources.append(StreamCursor(stream=f"bank-saga-{self._chance.randrange(3)}", last_no=len(self.ids)))
        await self.writer.take(batch)

    def _id(self) -> str:
        number = len(self.ids)
        made = f"{self._now_us // 1000 + self._chance.choice((0, 0, 0, 50_000)):012x}"
        uuid = f"{made[:8]}-{made[8:]}-7000-8000-{number:012x}"
        self.ids.append(self._chance.choice((uuid, uuid, uuid.upper(), f"text {number} é")))
        return self.ids[-1]

    def _events(self) -> Sequence[Message]:
        if self._accounts == 0 or self._chance.random() < 0.3:
            self._accounts += 1
            return [AccountOpened(account=f"a{self._accounts}", owner="Ann", currency="EUR")]
        account = f"a{self._chance.randrange(self._accounts) + 1}"
        if self._chance.random() < 0.2:
            return [TransferRequested(transfer=f"t{len(self.ids)}", source=account, target="a1", amount_minor=3)]
        amount = self._chance.randrange(1, 2**40)
        deposits = [Deposited(account=account, amount_minor=amount, balance_minor=amount, currency="EUR")]
        return deposits * self._chance.randrange(1, 3)


async def replica(log: Log) -> tuple[ReplicaState, Position]:
    """One that has read all from the start."""
    state = new_state()
    return state, await catch_up(log, state, Position(TOPIC))


async def stored(store: SnapshotStore, log: Log, *, keep: int = 9) -> Header:
    """Of a snapshot of the tail, taken by one that has read all."""
    state, position = await replica(log)
    written = await store.write(Draft(state, position, created_at_us=BEGAN_US))
    await store.forget(TOPIC, keep=keep)
    return written.header


def content(state: ReplicaState) -> list[bytes]:
    """All of it; equal for equal states, and for no others."""
    return list(state.dump())
