"""Plain SQL, and rows of others, on a real Postgres: what is refused, when, and in which words."""

import asyncio
from contextlib import suppress

import pytest

from bank.v1.events_pb2 import Deposited
from bennu.domain import TEXT, TIMESTAMP, Column, EventMeta, Projection, Rows, Table, projects
from bennu.errors import BadSettings
from bennu.log.memory import MemoryBroker, MemoryLog
from tests.qserver.history import at
from tests.qserver.letters import START_US, Letters
from tests.qserver.loops import bank_with, looping
from tests.qserver.poison import deposited
from tests.qserver.serving import connected, until

pytestmark = pytest.mark.real

TOUCH = "INSERT INTO {seen} (account, at) VALUES ($1, $2) ON CONFLICT (account) DO UPDATE SET at = excluded.at"


class Seen(Projection):
    """When there was a deposit last."""

    tables = (Table("seen", key=("account",), columns=(Column("account", TEXT), Column("at", TIMESTAMP))),)
    statements = (TOUCH,)

    @projects
    def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
        """A transfer called `late` has a time that no calendar has."""
        rows.sql(TOUCH, event.account, 2**62 if event.transfer == "late" else meta.recorded_at_us)


def saying(statement: str) -> type[Projection]:
    """The same with another statement, which it never calls."""
    return type("Other", (Seen,), {"statements": (TOUCH, statement)})


async def begin(dsn: str, projection: type[Projection]) -> None:
    """Its tables are made, as at a start."""
    with suppress(TimeoutError):
        async with asyncio.timeout(60), looping(MemoryLog(MemoryBroker()), dsn, app=bank_with(projection)):
            pass


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE {seen} SET nothing = 1", 'column "nothing" of relation "seen_g1" does not exist'),
        ("UPDATE {seen} SET at = $1 WHRE account = $2", "syntax error"),
        ("DELETE FROM {seen} WHERE account = $1 AND at < nowhere()", r"function nowhere\(\) does not exist"),
        (
            "DELETE FROM {seen} WHERE account IN (SELECT app FROM bennu.positions)",
            "it reads bennu.positions; only tables of its projection",
        ),
    ],
)
def test_what_postgres_does_not_understand_stops_the_start(database: str, statement: str, complaint: str) -> None:
    """Before any event is read; projection and statement are named."""
    with pytest.raises(BadSettings, match=f"projection `other`, statement `{statement[:6]}.*{complaint}"):
        asyncio.run(begin(database, saying(statement)))


async def seen(dsn: str) -> tuple[list[tuple[object, ...]], list[str]]:
    """Rows and problems after two deposits, of which one is late."""
    world = Letters(dsn)
    await world.create()
    await world.say(deposited("a"), deposited("b", "late"), deposited("zero\0"))
    async with connected(dsn) as connection, looping(world.log, dsn, app=bank_with(Seen)):
        await until(lambda: connection.fetchval("SELECT count(*) = 2 FROM bank.seen"))
        rows = [tuple(row) for row in await connection.fetch("SELECT account, at FROM bank.seen ORDER BY 1")]
        return rows, [row["problem"] for row in await connection.fetch("SELECT problem FROM bennu.dead_letters")]


def test_times_are_in_microseconds(database: str) -> None:
    """As everywhere in rules; one that no calendar has parks its event.  A zero byte is replaced, as everywhere."""
    rows, (problem,) = asyncio.run(seen(database))
    assert rows == [("a", at(START_US + 1)), ("zero\ufffd", at(START_US + 1))]
    assert "bank-events-0, seq 2: table `seen`, statement `INSERT INTO {seen} (account, at)" in problem
    assert f"{2**62} is no time in microseconds" in problem


async def problem_of(dsn: str, poison: str) -> str:
    """Of one event behind a good one of another account."""
    world = Letters(dsn)
    await world.create()
    await world.say(deposited("well"), deposited("a", poison))
    async with connected(dsn) as connection, world.looping():
        await world.settled(connection)
        return str(await connection.fetchval("SELECT problem FROM bennu.dead_letters"))


@pytest.mark.parametrize(
    ("poison", "words"),
    [
        ("others", ["bank-events-0, offset 1, seq 2: table `cells`: a row whose `account` is 'only 0 2'", "about 'a'"]),
        ("where", ["table `lines`: a row whose `account` is 'only 0 2'", "the event is about 'a'"]),
        ("steal", ["seq 2: table `cells`, statement `INSERT INTO {cells}", "`account` is 'only 0 2'", "is 'a'"]),
        ("divide", ["seq 2: table `cells`, statement `UPDATE {cells} SET total", "division by zero"]),
    ],
)
def test_rows_of_others_are_refused(database: str, poison: str, words: list[str]) -> None:
    """Whoever writes a row that belongs to another aggregate is parked: table, key and both are named."""
    problem = asyncio.run(problem_of(database, poison))
    assert all(word in problem for word in words), problem
