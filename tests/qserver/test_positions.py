"""The position is compared and set: of several projectors, one writes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from bennu.errors import BadSettings
from bennu.replica.journal import Position
from bennu_qserver import positions
from bennu_qserver.errors import PositionMoved
from bennu_qserver.generations import begin_first
from bennu_qserver.migration import migrate
from bennu_qserver.positions import Place
from tests.qserver.serving import connected

pytestmark = pytest.mark.real

PLACE = Place("bank", "ledger", 1, 0)
START = Position("bank-events-0")
NEXT = Position(
    "bank-events-0", offset=7, epoch=3, term=2**64 - 1, batch_no=5, next_seq=40, digest=bytes(range(16))
)  # a term of all 64 bits


@asynccontextmanager
async def begun(dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """A connection to where the generation is."""
    await migrate(dsn)
    async with connected(dsn) as connection:
        await begin_first(connection, PLACE.key, declaration="", tables=[])
        yield connection


async def moved(dsn: str) -> None:
    """Moved once, and not again from the same place."""
    async with begun(dsn) as one:
        assert await positions.load(one, PLACE, topic=START.topic, partitions=1) == START
        await positions.move(one, PLACE, old=START, new=NEXT)
        assert await positions.load(one, PLACE, topic=START.topic, partitions=1) == NEXT
        for field in Position._fields[1:]:
            stale = NEXT._replace(**{field: getattr(START, field)})
            with pytest.raises(PositionMoved):
                await positions.move(one, PLACE, old=stale, new=NEXT._replace(offset=8))
        assert await positions.read(one, PLACE) == NEXT


def test_a_position_moves_only_from_where_it_is(database: str) -> None:
    """A mover who differs from what stands there in any one field changes nothing; 64 bits of a term are kept."""
    asyncio.run(moved(database))


async def raced(dsn: str) -> None:
    """Two transactions move at once; the first then ends in `end`."""
    async with begun(dsn) as one, connected(dsn) as other:
        await positions.load(one, PLACE, topic=START.topic, partitions=1)
        first = one.transaction()
        await first.start()
        await positions.move(one, PLACE, old=START, new=NEXT)
        second = asyncio.create_task(positions.move(other, PLACE, old=START, new=NEXT._replace(offset=8)))
        await first.commit()
        with pytest.raises(PositionMoved):
            await second
        assert await positions.read(one, PLACE) == NEXT


def test_two_movers_at_once(database: str) -> None:
    """A mover waits for one who is under way, and then finds the position moved."""
    asyncio.run(raced(database))


async def elsewhere(dsn: str) -> None:
    """One app's position, asked for as others."""
    async with begun(dsn) as one:
        await positions.load(one, PLACE, topic=START.topic, partitions=1)
        await positions.check_partitions(one, "bank", partitions=1)
        await positions.check_partitions(one, "shop", partitions=9)
        with pytest.raises(BadSettings, match="tables hold 1 partitions, the settings say 3"):
            await positions.check_partitions(one, "bank", partitions=3)
        with pytest.raises(BadSettings, match="is one of bank-events-0, not of other-events-0"):
            await positions.load(one, PLACE, topic="other-events-0", partitions=1)


def test_positions_of_other_journals_are_refused(database: str) -> None:
    """A position says of which journal and of how many partitions it is; another app's is of no concern."""
    asyncio.run(elsewhere(database))
