"""Work that waits for the transaction before it."""

import asyncio
from collections.abc import Iterator

from bennu.domain.projection import Value
from bennu.replica.journal import Position
from bennu.v1.journal_pb2 import EventBatch
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.limits import TRANSACTION_CHANGES, TRANSACTION_DAYS
from bennu_qserver.parked import Parked
from bennu_qserver.pending import Pending, Work
from bennu_qserver.rows import RowChanges, Write
from tests.qserver.loops import LEDGER
from tests.qserver.serving import TIMEOUT_S

TOPIC = "bank-events-0"
OPEN: dict[str, Value] = {
    "owner": "ann",
    "currency": "EUR",
    "status": "open",
    "limit_minor": 0,
    "opened_at": 1,
    "updated_at": 1,
}


class SeenRows(RowChanges):
    """Tells whether its statements were made."""

    made = False

    def writes(self) -> Iterator[Write]:
        yield from super().writes()
        self.made = True


def one_change() -> tuple[Pending, SeenRows]:
    """Pending work that is full with one change."""
    statements = compile_projections(LEDGER)[0].in_generation(1).statements
    rows = [SeenRows(statements, TOPIC) for _ in range(2)]
    unused = iter(rows)
    pending = Pending(Position(TOPIC), lambda position: Work(next(unused), position, Parked()), most_changes=1)
    return pending, rows[0]


async def made_ready() -> None:
    """While nobody takes it."""
    pending, rows = one_change()
    rows.upsert("accounts", {"account": "a"}, balance_minor=7, **OPEN)
    pending.advanced(Position(TOPIC, 1), size=1)
    room = asyncio.create_task(pending.room())
    while not rows.made:
        await asyncio.sleep(0)
        assert not room.done()
    work = await pending.take()
    await room
    rows.made = False
    writes = await work.writes()
    assert writes is not None
    assert [(write.table, write.rows) for write in writes] == [("accounts", 1)]
    assert not rows.made


def test_full_work_is_made_ready_before_it_is_taken() -> None:
    """Postgres need not wait for statements that could be made while it was busy; and they are made once."""
    asyncio.run(asyncio.wait_for(made_ready(), TIMEOUT_S))


async def spoilt() -> None:
    """By a text where a number belongs."""
    pending, rows = one_change()
    rows.upsert("accounts", {"account": "a"}, balance_minor="seven", **OPEN)
    pending.advanced(Position(TOPIC, 1), size=1)
    room = asyncio.create_task(pending.room())
    while not pending.work.spoilt:
        await asyncio.sleep(0)
        assert not room.done()
    work = await pending.take()
    await room
    assert await work.writes() is None


def test_a_fault_that_is_found_ahead_is_left_to_the_writer() -> None:
    """The reader goes on; whoever takes the work is told that it can't be written as a whole."""
    asyncio.run(asyncio.wait_for(spoilt(), TIMEOUT_S))


def test_work_that_spans_many_days_is_full() -> None:
    """Each may be a piece of a table, and each piece takes locks, of which Postgres has not many."""
    projection = compile_projections(LEDGER)[0].in_generation(1)
    work = Work(projection.new_rows(TOPIC), Position(TOPIC), Parked())
    for day in range(TRANSACTION_DAYS):
        assert not work.is_full(TRANSACTION_CHANGES)
        for recorded_at_us in (day * 86_400_000_000, (day + 1) * 86_400_000_000 - 1):
            work.take(EventBatch(recorded_at_us=recorded_at_us), projection, partition=0, where=TOPIC)
    assert work.is_full(TRANSACTION_CHANGES)
