"""`bennu drill projections` on the embedded log; and what it judges by must see what is wrong."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from bank.drill_tables import BankTables
from bennu.drill.readers import Database, Reader
from bennu.drill.table_result import TableResult
from bennu.drill.workload import Compared
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Log
from tests.drill.drilled import drilled
from tests.journal_writer import JournalWriter
from tests.qserver.history import Bank
from tests.qserver.loops import looping
from tests.qserver.serving import until

SMALL = ("drill", "projections", "--log", "sqlite", "--rounds", "2", "--every-s", "0.5", "--qservers", "1", "--json")
MONEY = "UPDATE bank.entries_g1 SET amount_minor = 7777 WHERE line = 0 AND seq = (SELECT min(seq) FROM bank.entries)"
ROW = "DELETE FROM bank.transfers_g1 WHERE transfer = (SELECT min(transfer) FROM bank.transfers)"
OWNER = "UPDATE bank.accounts_g1 SET owner = owner || '!' WHERE account = (SELECT min(account) FROM bank.accounts)"
COPY = "CREATE TABLE bank.transfers_g2 AS SELECT * FROM bank.transfers_g1"
OTHER = """
DO $$ BEGIN EXECUTE
    'CREATE OR REPLACE VIEW bank.transfers AS ' || replace(pg_get_viewdef('bank.transfers'::regclass), '_g1', '_g2');
END $$
"""
"""One view alone shows another generation."""


@pytest.mark.real
def test_every_row_is_compared_and_nothing_is_left(folder: Path) -> None:
    """Exit code 0; the last line has the numbers; no process, no folder."""
    numbers = drilled(folder, *SMALL, until="kill -9 of")
    assert numbers["mismatches"] == numbers["mixed_reads"] == numbers["unbalanced_reads"] == 0
    assert (numbers["checks"], numbers["rebuilds"], numbers["problems"]) == (5, 2, [])
    assert numbers["reads"] > 0
    assert numbers["rows"] > numbers["events"] > 0
    assert numbers["faults"].keys() == {"qserver", "postgres"}, "seed 1 has both"


class Shown(NamedTuple):
    """A random history, in tables."""

    database: Database
    log: Log
    tables: BankTables

    async def compare(self) -> Compared:
        """As the drill does."""
        return await self.database.ask(lambda connection: self.tables.compare(connection, self.log))

    async def read(self) -> Reader:
        """What a reader finds in one transaction."""
        reader = Reader(self.tables)
        await reader.read(self.database)
        return reader

    async def plant(self, *statements: str) -> None:
        """Change something by hand."""
        for statement in statements:
            await self.database.ask(lambda connection, text=statement: connection.execute(text))  # type: ignore[misc]


@asynccontextmanager
async def shown(dsn: str, *, seed: int) -> AsyncIterator[Shown]:
    """Once all is in the tables, and nobody writes any more."""
    print(f"seed {seed}")
    bank, log, tables = Bank(Random(seed)), MemoryLog(MemoryBroker()), BankTables(1, seed=seed, name="d")
    writer = JournalWriter(log, "bank-events-0")
    await log.create("bank-events-0")
    await writer.epoch()
    await writer.batch(bank.entries(200), recorded_at_us=bank.clock_us)
    async with Database(dsn) as database:

        async def is_shown() -> bool:
            return sum((await database.ask(tables.shown)).values()) == await tables.journaled(log)

        async with looping(log, dsn):
            await until(is_shown)
        yield Shown(database, log, tables)


async def mistakes(dsn: str) -> None:
    """One after another; each is counted, beside those before it."""
    async with shown(dsn, seed=61) as bank:
        right = await bank.compare()
        assert (right.mismatches, right.told) == (0, [])
        assert right.rows > right.events > 0
        reader = await bank.read()
        assert (reader.reads, reader.mixed, reader.unbalanced) == (1, 0, 0)
        for number, mistake in enumerate((OWNER, ROW, MONEY), 1):
            await bank.plant(mistake)
            assert (await bank.compare()).mismatches == number
        reader = await bank.read()
        assert (reader.mixed, reader.unbalanced) == (1, 1)
        assert "1 rows contradict those of another table; " in reader.told[0]


@pytest.mark.real
def test_a_row_that_is_changed_by_hand_is_counted(database: str) -> None:
    """Another value, a row that is missing, an amount: each is a mismatch; readers notice what contradicts."""
    asyncio.run(mistakes(database))


async def mixed(dsn: str) -> None:
    """A view shows another generation, with the same rows; then there are fewer of them."""
    async with shown(dsn, seed=62) as bank:
        await bank.plant(COPY, OTHER)
        reader = await bank.read()
        assert (reader.mixed, reader.told) == (
            1,
            ["read 1: views of the generations 1, 2"],
        )
        await bank.plant("DELETE FROM bank.transfers_g2")
        await reader.read(bank.database)
        assert reader.mixed == 2
        assert " rows after " in reader.told[1]


@pytest.mark.real
def test_a_mixture_of_generations_is_counted(database: str) -> None:
    """Also where no row contradicts another one; and so are rows that are no longer there."""
    asyncio.run(mixed(database))


def test_what_is_wrong_is_a_problem() -> None:
    """The exit code follows from problems: a mismatch, a read that was wrong, live tables that did not keep up."""
    result, reader = TableResult(live_lags_ms=[5.0, 1000.0]), Reader(BankTables(1, seed=1, name="d"))
    result.take(Compared(1, 1, 0, []))
    result.judge(reader, bounded=False)
    assert result.problems == []
    result.take(Compared(1, 1, 1, ["accounts: a"]))
    reader.told.append("read 1: two generations in one transaction")
    result.judge(reader, bounded=True)
    assert [problem.partition(":")[0] for problem in result.problems] == [
        "check 2",
        "read 1",
        "live tables were 1000 ms old during the first rebuild",
    ]
