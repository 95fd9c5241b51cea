"""The state at any past moment: a journal replayed up to one event, which may stand in the middle of a batch."""

from contextlib import aclosing
from typing import NamedTuple

from bennu.errors import Unavailable
from bennu.limits import PAST_LOOK_BACK_RECORDS
from bennu.log.port import Log
from bennu.replica.columns import check_columns
from bennu.replica.history import judged, records, records_between
from bennu.replica.journal import Position, decode, digest_of
from bennu.replica.state import ReplicaState
from bennu.v1.journal_pb2 import EpochStart, EventBatch


class Moment(NamedTuple):
    """An event, and where it stands; of number 0, or where its record is not kept, the number is all that is known."""

    seq: int
    offset: int
    recorded_at_us: int = 0
    event: str = ""
    command: str = ""
    command_id: str = ""


async def numbers_of(log: Log, topic: str) -> tuple[int, int]:
    """Which partition a journal is of how many, as its first epoch says.  Raises `Unavailable` if none began."""
    first, _ = await log.bounds(topic)
    async with aclosing(records(log, topic, first)) as found:
        async for offset, body in found:
            record = decode(body, where=f"{topic}, offset {offset}")
            if isinstance(record, EpochStart):
                return record.partition, record.partitions
    raise Unavailable(f"{topic}: nothing was decided yet")


async def replay_to(log: Log, state: ReplicaState, position: Position, *, seq: int) -> Moment:
    """Evolve a state that stands here until event `seq` is in it, and no later one.

    Raises `Unavailable` when the journal holds no such event yet, and what `judged` and `ReplicaState.take` raise.
    """
    last = position.next_seq - 1
    assert last <= seq, "a replay goes forward"
    if last == seq:
        return await _before(log, position, seq=seq)
    async with aclosing(judged(log, position.topic, position)) as found:
        async for one in found:
            last = one.position.next_seq - 1
            if last < seq:
                state.take(one)
                continue
            assert isinstance(one.record, EventBatch), "nothing else brings events"
            _evolve(state, one.record, one.where, seq=seq)
            return _moment(one.record, one.offset, seq)
    raise Unavailable(f"{position.topic}: there is no event {seq}; the newest is {last}")


async def _before(log: Log, position: Position, *, seq: int) -> Moment:
    """The last event before this position: a batch's digest leads to its record, and names the batch before it."""
    first, _ = await log.bounds(position.topic)
    begin = max(first, position.offset - PAST_LOOK_BACK_RECORDS)
    kept = [found async for found in records_between(log, position.topic, begin, end=position.offset)]
    digest = position.digest
    for offset, body in reversed(kept):
        if digest_of(body) == digest:
            batch = decode(body, where=f"{position.topic}, offset {offset}")
            assert isinstance(batch, EventBatch), "positions have the digests of batches"
            if batch.first_seq <= seq:
                return _moment(batch, offset, seq)
            digest = batch.prev_digest
    return Moment(seq, position.offset)


def _evolve(state: ReplicaState, batch: EventBatch, where: str, *, seq: int) -> None:
    count = seq + 1 - batch.first_seq
    if count >= len(batch.events):
        state.evolve(batch, where)
        return
    check_columns(batch, where)
    first = EventBatch()
    first.CopyFrom(batch)
    del first.events[count:], first.event_type_indexes[count:]
    state.fold.apply(first, where)


def _moment(batch: EventBatch, offset: int, seq: int) -> Moment:
    index, left = seq - batch.first_seq, seq - batch.first_seq
    for entry, count in enumerate(batch.event_counts):
        if left < count:
            event, command = (
                batch.event_types[batch.event_type_indexes[index]],
                batch.command_types[batch.command_type_indexes[entry]],
            )
            return Moment(seq, offset, batch.recorded_at_us, event, command, batch.command_ids[entry])
        left -= count
    raise AssertionError("the columns of a batch fit together: they were checked")
