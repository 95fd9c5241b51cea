"""`bennu reconcile` compares the table of events, and misses no row that is kept."""

import asyncio

import pytest

from bank.v1.events_pb2 import AccountOpened
from bennu.domain import DAY, EventTable
from bennu_qserver import pieces
from bennu_qserver.tables import StoredTable
from tests.qserver.event_tables import BANK, Reader, Told
from tests.qserver.loops import bank_with, looping
from tests.qserver.reconciling import reconciled
from tests.qserver.serving import connected
from tests.qserver.test_event_table import of_now

pytestmark = pytest.mark.real


class Kept(EventTable):
    """By day, for some days."""

    every, keep_days = DAY, 9


class Less(EventTable):
    """The same table, whose older rows nobody has dropped yet."""

    every, keep_days = DAY, 5


async def words(told: Told, dsn: str, *, rows_at_once: int = 1_000_000) -> list[str]:
    """What is said of the table, without the event that touched it last."""
    said = await reconciled(told.log, dsn, told.app, names=("events",), rows_at_once=rows_at_once)
    assert said.tables[0].not_compared == ()
    assert said.tables[0].expected > 0
    return [line.partition(" (last touched")[0] for line in said.words]


async def for_ever(dsn: str) -> None:
    """Events of months; rows are changed, removed and made by hand."""
    told = Told(partitions=2, seed=3, app=BANK)
    await told.create()
    await told.write(15)
    for bank in told.banks:
        bank.clock_us += 70 * pieces.DAY_US
    await told.write(15)
    async with connected(dsn) as connection:
        async with looping(told.log, dsn, app=told.app, partitions=2):
            await told.shown(connection)
        for rows_at_once in (1_000_000, 50):
            assert await words(told, dsn, rows_at_once=rows_at_once) == []
        for statement in (
            "UPDATE bank.events_g1 SET payload = payload || '{\"odd\": 1}' WHERE partition = 0 AND seq = 2",
            "UPDATE bank.events_g1 SET actor = 'eve' WHERE partition = 1 AND seq = 3",
            "DELETE FROM bank.events_g1 WHERE partition = 1 AND seq = 4",
            "UPDATE bank.events_g1 SET seq = 1000000 WHERE partition = 0 AND seq = 5",
        ):
            assert await connection.execute(statement) in ("UPDATE 1", "DELETE 1")
        for rows_at_once in (1_000_000, 50):
            said = sorted(await words(told, dsn, rows_at_once=rows_at_once))
            assert [(line.split(", recorded_at")[0], line.rpartition(": ")[2][:9]) for line in said] == [
                ("table events, partition=0, seq=1000000", "no event "),
                ("table events, partition=0, seq=2", said[1].rpartition(": ")[2][:9]),
                ("table events, partition=0, seq=5", "it is not"),
                ("table events, partition=1, seq=3", "actor is "),
                ("table events, partition=1, seq=4", "it is not"),
            ]
            assert "payload is " in said[1]


def test_a_row_of_an_event_that_is_changed_removed_or_made_is_found(database: str) -> None:
    """All of them, and nothing else, in whatever piece the row stands."""
    asyncio.run(for_ever(database))


async def for_a_while(dsn: str) -> None:
    """Events of the last days, of which the oldest are not kept, or kept no longer."""
    told = Told(app=bank_with(Kept))
    await told.create()
    for days_ago in (30, 8, 7, 3, 1, 0):
        await told.say(AccountOpened(account=f"a{days_ago}", currency="EUR"), at_us=of_now(days_ago))
    async with connected(dsn) as connection:
        async with looping(told.log, dsn, app=told.app):
            await told.projected(connection)
        assert await accounts(connection) == ["a8", "a7", "a3", "a1", "a0"]
        assert await words(told, dsn) == []
        await connection.execute("DELETE FROM bank.events_g1 WHERE key = 'a8'")
        (said,) = await words(told, dsn)
        assert said.endswith("it is not there")
        await no_longer_kept(told, dsn, connection)


async def no_longer_kept(told: Told, dsn: str, connection: Reader) -> None:
    """Of what is older any row may be there, or none."""
    told.app = bank_with(Less)
    assert await accounts(connection) == ["a7", "a3", "a1", "a0"]
    assert await words(told, dsn) == []
    async with connection.transaction():
        while await pieces.drop_oldest(connection, StoredTable("bank", 1, Less.tables[0])):
            pass
    assert await accounts(connection) == ["a3", "a1", "a0"]
    assert await words(told, dsn) == []
    await connection.execute("DELETE FROM bank.events_g1 WHERE key = 'a3'")
    await connection.execute("UPDATE bank.events_g1 SET command_id = 'x' WHERE key = 'a1'")
    said = await words(told, dsn)
    assert ["it is not there" in said[0], "command_id is 'x'" in said[1], len(said)] == [True, True, 2]


async def accounts(connection: Reader) -> list[str]:
    """Whose rows are there."""
    return [row[0] for row in await connection.fetch("SELECT key FROM bank.events_g1 ORDER BY seq")]


def test_a_row_that_is_kept_is_missed_and_an_older_one_is_not(database: str) -> None:
    """Whether those of days that ended before `keep_days` are dropped already or not."""
    asyncio.run(for_a_while(database))
