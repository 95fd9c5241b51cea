"""What QServers do by themselves for tables that are kept by time; and what becomes of them with generations."""

import asyncio

import pytest

from bennu.domain import App, EventTable
from bennu.ops.generations import DROP, DROPPED, LIVE, PREVIOUS, SWITCH
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu_qserver import upkeep
from bennu_qserver.database import open_database
from bennu_qserver.errors import NotYet
from bennu_qserver.generations import Key
from bennu_qserver.tables import StoredTable
from bennu_qserver.upkeep import Kept
from tests.qserver.event_tables import Reader, Told, payloads, pieces_of
from tests.qserver.history import at
from tests.qserver.loops import bank_with, looping
from tests.qserver.managed import ASKED, Operator, managed
from tests.qserver.serving import TIMEOUT_S, connected, until
from tests.qserver.test_event_table import OPENED, of_now

pytestmark = pytest.mark.real

EVENTS = bank_with(EventTable)
ALL_TABLES = "SELECT count(*) FROM pg_class WHERE relnamespace = 'bank'::regnamespace AND relname LIKE 'events_g1%'"


class Short(EventTable):
    """By month, for two months."""

    keep_days = 60


def months(*days_from_now: float) -> list[str]:
    """Suffixes of their pieces."""
    return sorted({f"{at(of_now(-days)):%Y%m}" for days in days_from_now})


async def generations_of(told: Told, dsn: str, connection: Reader) -> None:
    """Rebuilt, switched to, dropped, while events come; a process that begins makes pieces ahead."""
    operator = Operator(connection)
    async with managed(told.log, dsn, EVENTS) as process:
        await told.shown(connection)

        async def ahead() -> bool:
            return set(months(0)) < set(await pieces_of(connection)) - {"202311", "202312"}

        await until(ahead)
        await until(lambda: _lives(operator))
        heard: asyncio.Queue[str] = asyncio.Queue()
        await connection.add_listener("bank_events", lambda *said: heard.put_nowait(str(said[3])))
        assert await operator.desk.begin("events", ASKED, wish=SWITCH, like="") == 2
        await told.write(5)
        await operator.come(2, LIVE)
        async with asyncio.timeout(TIMEOUT_S):
            while await heard.get() != '{"generation": 2}':
                pass
        await told.shown(connection)
        assert set(await pieces_of(connection, 2)) >= {"202311"}
        assert (await operator.states())[1] == PREVIOUS
        row = await operator.desk.row("events", 1)
        await operator.desk.wish(row, DROP, ASKED)
        await operator.come(1, DROPPED)
        assert await connection.fetchval(ALL_TABLES) == 0
        await told.write(5)
        await told.shown(connection)
        assert process.unmet() == ""


async def _lives(operator: Operator) -> bool:
    return bool(await operator.desk.workers())


async def rebuilt(dsn: str) -> None:
    """One process."""
    told = Told(app=EVENTS)
    await told.create()
    await told.write(10)
    async with connected(dsn) as connection:
        await generations_of(told, dsn, connection)


def test_it_is_rebuilt_switched_to_and_dropped_like_any_other(database: str) -> None:
    """With all its pieces; a switch is told of; what is to come has its piece before it comes."""
    asyncio.run(rebuilt(database))


async def looked_after(dsn: str, app: App) -> None:
    """Old pieces, which somebody reads; then nobody does; then the generation is gone."""
    told = Told(app=EVENTS)
    await told.create()
    for days_ago in (200, 150, 1):
        await told.say(OPENED, at_us=of_now(days_ago))
    kept = Kept(Key("bank", "events", 1), StoredTable("bank", 1, app.projections[0].tables[0]))
    opening = open_database(dsn, name="test", metrics=Metrics(), readiness=Readiness())
    async with connected(dsn) as connection, connected(dsn) as reader, opening as database:
        async with looping(told.log, dsn, app=EVENTS):
            await told.shown(connection)
        async with reader.transaction():
            assert len(await payloads(reader)) == 3
            with pytest.raises(NotYet, match="others hold the table"):
                await upkeep.keep_up(database, kept)
            assert len(await payloads(reader)) == 3
        await upkeep.keep_up(database, kept)
        assert len(await payloads(connection)) == 1
        found = await pieces_of(connection)
        assert set(found) >= set(months(0, -1))
        assert not set(found) & set(months(-200, -150))
        await connection.execute("UPDATE bennu.generations SET state = 'dropped'")
        await connection.execute("DROP TABLE bank.events_g1 CASCADE")
        await upkeep.keep_up(database, kept)
        assert await connection.fetchval(ALL_TABLES) == 0


def test_old_pieces_are_dropped_when_nobody_reads_them(database: str) -> None:
    """Readers never give way; of a generation that has gone nothing is made again."""
    asyncio.run(looked_after(database, bank_with(Short)))
