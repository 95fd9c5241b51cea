"""The state at a past event: exactly what was known after it, from the journal's start or from a snapshot before it."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from bank.app import app
from bennu.errors import Unavailable
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.fold import AggregateFold
from bennu.replica.history import effective_batches, judged
from bennu.replica.journal import Position
from bennu.replica.past import Moment, numbers_of, replay_to
from bennu.replica.state import ReplicaState
from bennu.snapshots.once import Taker
from bennu.snapshots.restore import restore
from bennu.snapshots.store import SnapshotStore
from bennu.snapshots.until import Until
from bennu.v1.journal_pb2 import EventBatch
from tests.snapshots.replicas import TOPIC, Bank, new_state

Contents = list[dict[str, bytes]]


def contents(state: ReplicaState) -> Contents:
    """All aggregates, as bytes."""
    assert isinstance(state.fold, AggregateFold)
    return [{key: msgspec.msgpack.encode(each) for key, each in states.items()} for states in state.fold.states]


def one_by_one(batches: Sequence[EventBatch]) -> list[Contents]:
    """What each event of a history leads to, by the fold alone."""
    state, found = new_state(), []
    for batch in batches:
        for name, raw in zip((batch.event_types[i] for i in batch.event_type_indexes), batch.events, strict=True):
            state.fold.apply(EventBatch(event_types=[name], event_type_indexes=[0], events=[raw]), "test")
            found.append(contents(state))
    return found


async def written(batches: int) -> MemoryLog:
    """A journal of two epochs."""
    log = MemoryLog(MemoryBroker())
    bank = Bank(log)
    for _ in range(2):
        await bank.begins()
        await bank.writes(batches)
    return log


def test_every_event_is_a_moment() -> None:
    """Each one's number gives the state after it, its command and the batch's time, across batches and epochs."""

    async def work() -> None:
        log = await written(6)
        batches = await effective_batches(log, TOPIC)
        expected = one_by_one(batches)
        assert len(expected) > len(batches), "some batches have several events"
        for seq, states in enumerate(expected, 1):
            state = new_state()
            moment = await replay_to(log, state, Position(TOPIC), seq=seq)
            batch = next(each for each in batches if each.first_seq <= seq < each.first_seq + len(each.events))
            assert contents(state) == states
            assert moment.recorded_at_us == batch.recorded_at_us
            assert moment.event == batch.event_types[batch.event_type_indexes[seq - batch.first_seq]]
            assert moment.command_id in batch.command_ids

    asyncio.run(work())


def test_before_the_first_event_there_is_nothing() -> None:
    """Number 0 is the state of a journal that nothing was written to."""

    async def work() -> None:
        state = new_state()
        assert (await replay_to(await written(1), state, Position(TOPIC), seq=0)).command == ""
        assert contents(state) == [{} for _ in app.kinds]

    asyncio.run(work())


def test_an_event_at_which_a_snapshot_ends_is_told_as_any_other() -> None:
    """Its record stands before what is replayed, perhaps with batches without events and epochs in between."""

    async def work() -> None:
        log = await written(6)
        ends = [one.position async for one in judged(log, TOPIC) if one.position.next_seq > 1]
        for position in ends:
            seq = position.next_seq - 1
            told = await replay_to(log, new_state(), position, seq=seq)
            assert told == await replay_to(log, new_state(), Position(TOPIC), seq=seq)

    asyncio.run(work())


def test_an_event_whose_record_is_not_kept_has_its_number_alone() -> None:
    """The state is that of the snapshot all the same."""

    async def work() -> None:
        broker = MemoryBroker()
        log = MemoryLog(broker)
        bank = Bank(log)
        await bank.begins()
        await bank.writes(3)
        position = bank.writer.position
        broker.expire_before(TOPIC, position.offset)
        seq = position.next_seq - 1
        assert await replay_to(log, new_state(), position, seq=seq) == Moment(seq, position.offset)

    asyncio.run(work())


def test_an_event_that_is_not_there_is_said() -> None:
    """With the number of the newest; and a journal without an epoch has no partition yet."""

    async def work() -> None:
        log = await written(1)
        assert await numbers_of(log, TOPIC) == (0, 1)
        with pytest.raises(Unavailable, match="no event 5000; the newest is"):
            await replay_to(log, new_state(), Position(TOPIC), seq=5_000)
        await log.create("bank-events-1")
        with pytest.raises(Unavailable, match="nothing was decided"):
            await numbers_of(log, "bank-events-1")

    asyncio.run(work())


@pytest.mark.real
def test_a_replay_begins_from_a_snapshot_that_is_old_enough(database: str) -> None:
    """Of an earlier and a later one the newest that is not past the moment; before both, the journal's start."""

    async def work() -> None:
        log, store = MemoryLog(MemoryBroker()), SnapshotStore(database, name="test")
        bank, ends = Bank(log), []
        await bank.begins()
        for number in range(3):
            await bank.writes(4)
            ends.append(bank.writer.position.next_seq - 1)
            if number < 2:
                await Taker(store, log).take(TOPIC, new_state, created_at_us=number + 1)
        expected = one_by_one(await effective_batches(log, TOPIC))
        for seq in range(1, ends[2] + 1):
            begun = await restore(Until(database, name="test", seq=seq), log, TOPIC, new_state=new_state)
            state, position = begun or (new_state(), Position(TOPIC))
            assert position.next_seq - 1 == max([0, *(end for end in ends[:2] if end <= seq)])
            await replay_to(log, state, position, seq=seq)
            assert contents(state) == expected[seq - 1]

    asyncio.run(work())
