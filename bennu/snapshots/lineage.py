"""Whether a position is one of this journal's history: a log may have been lost, and begun again, under its name.

A batch's digest covers all before it.  So a position belongs to a history if the record that it has the digest of
stands there, and the records between it and the position lead to exactly that position.
"""

from contextlib import aclosing

from bennu.errors import JournalBroken, RecordBroken
from bennu.log.port import Log, Record
from bennu.replica.history import records_between
from bennu.replica.journal import JournalReader, Position, Verdict, decode, digest_of
from bennu.replica.slices import Unfit
from bennu.snapshots.limits import LOOK_BACK_FIRST, LOOK_BACK_RECORDS
from bennu.v1.journal_pb2 import EventBatch

OTHER = "it is of another history of this journal"


async def check_lineage(log: Log, position: Position, bounds: tuple[int, int]) -> None:
    """Raise `Unfit` unless a replica of this journal could stand here; `bounds` of the log hold the position."""
    try:
        before = await _last_batch(log, position, bounds[0])
        if before is not None:
            await _check_from(log, before, position)
        elif bounds[0] == 0:
            raise Unfit(f"{OTHER}: no record before offset {position.offset} has its digest")
        else:
            await _check_onwards(log, position, bounds)
    except (JournalBroken, RecordBroken) as error:
        raise Unfit(f"{OTHER}: {error}") from error


async def _last_batch(log: Log, position: Position, first: int) -> Position | None:
    """Where a replica stood after the last batch before this position; None when it is no longer kept."""
    if position.batch_no == 0:
        return Position(position.topic) if first == 0 else None
    end, count = position.offset, LOOK_BACK_FIRST
    while end > max(first, position.offset - LOOK_BACK_RECORDS):
        begin = max(first, end - count)
        for record in reversed([found async for found in records_between(log, position.topic, begin, end=end)]):
            if digest_of(record.body) == position.digest:
                return _after(record, position)
        end, count = begin, 2 * count
    return None


def _after(record: Record, position: Position) -> Position:
    batch = decode(record.body, where=f"{position.topic}, offset {record.offset}")
    assert isinstance(batch, EventBatch), "positions have the digests of batches"
    return Position(
        position.topic,
        offset=record.offset + 1,
        epoch=batch.epoch,
        term=batch.term,
        batch_no=batch.batch_no,
        next_seq=batch.first_seq + len(batch.events),
        digest=position.digest,
    )


async def _check_from(log: Log, before: Position, position: Position) -> None:
    reader = JournalReader(before)
    async with aclosing(records_between(log, position.topic, before.offset, end=position.offset)) as records:
        async for record in records:
            reader.classify(*record)
    if reader.position != position:
        raise Unfit(f"{OTHER}: at offset {position.offset} it says epoch {position.epoch}, term {position.term:x}")


async def _check_onwards(log: Log, position: Position, bounds: tuple[int, int]) -> None:
    """The batch before it is no longer kept: the next one must continue it, if there is one."""
    reader = JournalReader(position)
    async with aclosing(records_between(log, position.topic, position.offset, end=bounds[1])) as records:
        async for record in records:
            if reader.classify(*record)[0] is Verdict.BATCH:
                return
            if record.offset - position.offset >= LOOK_BACK_RECORDS:
                raise Unfit(f"no record from offset {position.offset} on shows that it is of this journal's history")
