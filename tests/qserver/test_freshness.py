"""How far tables are behind is told, and whoever has written waits until they are not."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import urlopen

import asyncpg
import pytest

from bennu.errors import Unavailable
from bennu.reading import wait_for
from bennu.replica.journal import Position
from bennu_qserver import positions
from bennu_qserver.lag import Lag, Waiting
from bennu_qserver.migration import migrate
from bennu_qserver.positions import Place
from tests.qserver.serving import bank_world, connected, metrics, qserver, started, until

TOPIC = "bank-events-0"
LEDGER, COUNTS = Place("bank", "ledger", 1, 0), Place("bank", "counts", 1, 0)
STATE = "UPDATE bennu.generations SET state = $2 WHERE projection = 'ledger' AND generation = $1"
GENERATION = (
    "INSERT INTO bennu.generations (app, projection, generation, state, declaration) VALUES ($1, $2, $3, $4, '')"
)
FRESHNESS = "SELECT lag_batches, lag_events, lag_ms, node FROM bennu.freshness WHERE projection = 'ledger'"


def test_the_age_is_that_of_the_first_batch_that_is_not_written() -> None:
    """Batches below the position do not count, and none at all is no age; a clock that is behind makes none below 0."""
    waiting = Waiting()
    assert waiting.age_ms(0, 1_000.0) == 0
    for offset, recorded_at_us in ((3, 997_000_000), (5, 998_500_000), (6, 1_001_000_000)):
        waiting.read(offset, recorded_at_us)
    assert [waiting.age_ms(offset, 1_000.0) for offset in (0, 3, 4, 6, 7)] == [3000, 3000, 1500, 0, 0]


async def told(directory: Path, dsn: str) -> None:
    """A QServer that has caught up; then its tables are locked, and the history goes on."""
    async with bank_world(directory, dsn, seed=21) as world, connected(dsn) as connection:
        service = qserver(directory, dsn, name="fresh")
        async with started(service):
            await world.write(5)
            await world.shown()
            await until(lambda: connection.fetchval(f"SELECT EXISTS ({FRESHNESS} AND lag_batches = 0)"))
            (row,) = await connection.fetch(FRESHNESS)
            assert tuple(row) == (0, 0, 0, "fresh")
            async with connected(dsn) as other, other.transaction():
                await other.execute("LOCK TABLE bank.accounts_g1")
                await world.write(3)
                await until(lambda: connection.fetchval(f"SELECT EXISTS ({FRESHNESS} AND lag_batches > 0)"))
                (row,) = await connection.fetch(FRESHNESS)
                assert row["lag_ms"] > 0
                assert "bennu_qserver_lag_batches" in await metrics(service)
                await until(lambda: says_lag(service.announced["ops"], row["lag_batches"]))
            await world.shown()
            await until(lambda: connection.fetchval(f"SELECT EXISTS ({FRESHNESS} AND lag_batches = 0)"))


async def says_lag(address: str, batches: int) -> bool:
    """Whether `/readyz` shows so many, and the three figures."""
    page = await asyncio.to_thread(lambda: urlopen(f"http://{address}/readyz", timeout=10).read())
    lag = json.loads(page)["conditions"]["projections"]["details"]["ledger/0, generation 1"]
    assert set(lag) == set(Lag._fields)
    return int(lag["batches"]) == batches


@pytest.mark.real
def test_lags_are_told(tmp_path: Path, database: str) -> None:
    """In bennu.freshness and in `/readyz`: nothing when caught up, and how much when the tables can't be written."""
    asyncio.run(told(tmp_path, database))


@asynccontextmanager
async def projected(dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """Two projections of one journal, and one of another; nobody projects but the test."""
    await migrate(dsn)
    async with connected(dsn) as connection:
        for place, topic in ((LEDGER, TOPIC), (COUNTS, TOPIC), (Place("bank", "sagas", 1, 0), "bank-saga-0")):
            await connection.execute(GENERATION, *place[:3], "live")
            await positions.load(connection, place, topic=topic, partitions=1)
        yield connection


async def move(connection: "asyncpg.Connection[asyncpg.Record]", place: Place, batch_no: int) -> None:
    """As a loop does."""
    old = await positions.read(connection, place)
    await positions.move(connection, place, old=old, new=old._replace(batch_no=batch_no))


async def waited(dsn: str) -> None:
    """Readers wait while two projections come to batch 17, one after the other."""
    async with projected(dsn) as connection, connected(dsn) as one, connected(dsn) as other:
        assert await one.fetchval("SELECT bennu.wait_for($1, timeout_ms => 0)", f"{TOPIC}:0")
        assert not await one.fetchval("SELECT bennu.wait_for($1, timeout_ms => 20)", f"{TOPIC}:17")
        of_ledger = asyncio.create_task(wait_for(one, f"{TOPIC}:17", projection="ledger", timeout_s=60))
        of_all = asyncio.create_task(wait_for(other, f"{TOPIC}:17", timeout_s=60))
        await move(connection, LEDGER, 17)
        await of_ledger
        assert not of_all.done()
        await move(connection, COUNTS, 18)
        await of_all
        with pytest.raises(Unavailable, match=r"bank-events-0:18 is not in the tables of projection ledger"):
            await wait_for(one, f"{TOPIC}:18", projection="ledger", timeout_s=0.01)


@pytest.mark.real
def test_a_token_is_waited_for(database: str) -> None:
    """Until the projection has it, or all that read its journal; in vain, false in SQL and an error in Python."""
    asyncio.run(waited(database))


async def of_generations(dsn: str) -> None:
    """Generation 2 is live and behind; 1 was."""
    async with projected(dsn) as connection:
        await connection.execute(GENERATION, "bank", "ledger", 2, "building")
        await positions.load(connection, LEDGER._replace(generation=2), topic=TOPIC, partitions=1)
        await move(connection, LEDGER, 9)
        ask = "SELECT bennu.wait_for($1, 'ledger', 0)"
        assert await connection.fetchval(ask, f"{TOPIC}:9")
        for generation, state in ((1, "previous"), (2, "live")):
            await connection.execute(STATE, generation, state)
        assert not await connection.fetchval(ask, f"{TOPIC}:9")


@pytest.mark.real
def test_the_live_generation_is_waited_for(database: str) -> None:
    """What another generation has is not in the tables that people read."""
    asyncio.run(of_generations(database))


BAD = {
    ("17", None, 0): "token '17' is none",
    ("bank-events-0:-1", None, 0): "token 'bank-events-0:-1' is none",
    ("bank-events-0:" + "9" * 5000, None, 0): "is none",
    ("shop-events-0:1", None, 0): "token 'shop-events-0:1' is of journal shop-events-0, which no projection reads",
    ("bank-events-0:1", "sagas", 0): "is of journal bank-events-0, which projection 'sagas' does not read",
    ("bank-events-0:1", "leger", 0): "no projection is called 'leger'",
    ("bank-events-0:1", None, -1): "timeout_ms is -1",
    ("bank-events-0:1", None, 60_001): "timeout_ms is 60001",
    (None, None, 0): "token NULL is none",
}


async def refused(dsn: str) -> None:
    """Each with its reason; and in transactions that would see nothing."""
    async with projected(dsn) as connection:
        for said, reason in BAD.items():
            with pytest.raises(asyncpg.InvalidParameterValueError) as caught:
                await connection.fetchval("SELECT bennu.wait_for($1, $2, $3)", *said)
            assert reason in str(caught.value)
            assert caught.value.hint
        for isolation in ("repeatable_read", "serializable"):
            with pytest.raises(asyncpg.ActiveSQLTransactionError, match="can't wait in a transaction"):
                async with connection.transaction(isolation=isolation):
                    await wait_for(connection, f"{TOPIC}:0")
        async with connection.transaction(isolation="read_committed", readonly=True):
            await wait_for(connection, f"{TOPIC}:0")


@pytest.mark.real
def test_what_can_not_be_waited_for_is_told(database: str) -> None:
    """A token or projection that is none, a timeout beyond its limit, a transaction that sees no changes."""
    asyncio.run(refused(database))


async def holds_nobody_up(dsn: str) -> None:
    """A reader waits inside a transaction; the projector moves on, and positions can be made anew."""
    async with projected(dsn) as connection, connected(dsn) as reader, reader.transaction():
        waiting = asyncio.create_task(wait_for(reader, f"{TOPIC}:3", projection="ledger", timeout_s=60))
        for number in (1, 2, 3):
            await move(connection, LEDGER, number)
        await waiting
        await move(connection, LEDGER, 4)
        assert (await positions.read(connection, LEDGER)) == Position(TOPIC, batch_no=4)


@pytest.mark.real
def test_who_waits_holds_nobody_up(database: str) -> None:
    """A projector moves its position while a reader waits for it inside a transaction."""
    asyncio.run(holds_nobody_up(database))
