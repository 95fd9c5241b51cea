"""QServer compares its own tables all the time, and tells what it finds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from bennu.domain import App
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Log
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.snapshots.pace import give_way
from bennu_qserver.database import open_database
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.reconcile import background, session, status
from bennu_qserver.reconcile.background import Background, Means, Share
from tests.qserver.letters import Letters
from tests.qserver.loops import LEDGER, looping
from tests.qserver.poison import deposited
from tests.qserver.serving import World, connected, until

pytestmark = pytest.mark.real

LABELS = {"app": "bank", "projection": "ledger"}


class Checked(NamedTuple):
    """A bank whose tables are compared in the background."""

    world: World
    metrics: Metrics
    readiness: Readiness

    def metric(self, name: str) -> float:
        """Its value."""
        return self.metrics.registry.get_sample_value(name, LABELS) or 0.0

    async def compared(self, passes: int = 1) -> None:
        """Wait until all rows have been compared so many times, from now on."""
        async with connected(self.world.dsn) as connection:
            for _ in range(passes + 1):  # the first one may have begun before now
                before = await connection.fetchval("SELECT now()")

                async def again(since: object = before) -> bool:
                    return bool(await connection.fetchval("SELECT max(whole_at) > $1 FROM bennu.reconciled", since))

                await until(again)


@asynccontextmanager
async def checking(log: Log, dsn: str, app: App = LEDGER) -> AsyncIterator[tuple[Metrics, Readiness]]:
    """It runs inside the block."""
    metrics, readiness = Metrics(), Readiness()
    async with open_database(dsn, name="background", metrics=metrics, readiness=readiness) as database:
        means = Means(log, database, 2, Share(90, give_way), metrics)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(Background(lambda: compile_projections(app), means, readiness).run())
            yield metrics, readiness
            task.cancel()


@asynccontextmanager
async def checked(dsn: str) -> AsyncIterator[Checked]:
    """A bank of two partitions."""
    world = World(MemoryLog(MemoryBroker()), dsn, seed=11, partitions=2)
    await world.create()
    await world.write(20)
    async with looping(world.log, dsn, partitions=2), checking(world.log, dsn) as (metrics, readiness):
        await world.shown()
        yield Checked(world, metrics, readiness)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RECONCILE_REST_S", 0.01)
    monkeypatch.setattr(background, "RECONCILE_ROWS", 50)  # so several parts


async def finds(dsn: str) -> None:
    """A row is changed, and later changed back."""
    async with checked(dsn) as bank, connected(dsn) as connection:
        await bank.compared()
        assert bank.metric("bennu_reconcile_rows_total") > 100
        assert bank.metric("bennu_reconcile_differences") == 0
        assert bank.metric("bennu_reconcile_whole_age_seconds") > 0
        await connection.execute("UPDATE bank.accounts_g1 SET owner = 'Eve' WHERE account = 'a0-0'")
        await bank.compared()
        assert bank.metric("bennu_reconcile_differences") == 1
        assert bank.readiness.ready
        assert "account='a0-0': owner is 'Eve', expected" in str(bank.readiness.report())
        async with session.session(dsn) as opened:
            (row,) = await opened.run(lambda each: status.shown(each, "bank"))
        assert status.found(row) == 1
        assert "account='a0-0': owner is 'Eve'" in status.words(row)
        await connection.execute("UPDATE bank.accounts_g1 SET owner = 'Zoë 😀' WHERE account = 'a0-0'")
        await bank.compared()
        assert bank.metric("bennu_reconcile_differences") == 0
        assert "Eve" not in str(bank.readiness.report())


def test_a_changed_row_is_found_and_told_until_it_is_mended(database: str) -> None:
    """By a metric, a line of the log, `/readyz` and `bennu reconcile --status`; QServer stays ready."""
    asyncio.run(finds(database))


async def goes_on(dsn: str) -> None:
    """Events come all the time; then the process ends in the middle of a pass, and another one goes on."""
    async with checked(dsn) as bank, connected(dsn) as connection:
        for _ in range(5):
            await bank.world.write(5)
            await asyncio.sleep(0)
        await bank.compared()
        assert bank.metric("bennu_reconcile_differences") == 0
        await bank.world.shown()
        parts = await connection.fetchval("SELECT parts FROM bennu.reconciled")
        assert parts > 1
    async with connected(dsn) as connection:
        await connection.execute("UPDATE bennu.reconciled SET part = parts - 1, differences = 7")
        async with checking(bank.world.log, dsn):
            await until(lambda: connection.fetchval("SELECT whole_differences = 7 FROM bennu.reconciled"))


def test_it_goes_on_where_it_was(database: str) -> None:
    """What was found is kept with how far it came: a process that begins anew every hour compares all rows, too."""
    asyncio.run(goes_on(database))


async def declared_otherwise(dsn: str) -> None:
    """By another build."""
    async with checked(dsn) as bank, connected(dsn) as connection:
        await bank.compared()
        await connection.execute("UPDATE bennu.generations SET declaration = 'another'")
        await until(lambda: connection.fetchval("SELECT bool_or(problem IS NOT NULL) FROM bennu.reconciled"))
        assert bank.metric("bennu_reconcile_stopped") == 1
        problem = await connection.fetchval("SELECT problem FROM bennu.reconciled")
        assert "this build declares it otherwise than it was made" in problem


def test_what_cannot_be_compared_is_told_and_ends_nothing(database: str) -> None:
    """A metric, and a row that says why."""
    asyncio.run(declared_otherwise(database))


async def left_out(dsn: str) -> None:
    """A table that plain SQL changes, beside others."""
    world = Letters(dsn, partitions=2)
    await world.create()
    await world.say(deposited("a"), deposited("b"))
    async with connected(dsn) as connection, checking(world.log, dsn, world.app) as (metrics, readiness):
        async with world.looping():
            await world.settled(connection)
        await until(lambda: connection.fetchval("SELECT max(whole_rows) >= 7 FROM bennu.reconciled"))
        await connection.execute("UPDATE bank.cells_g1 SET note = 'odd'")
        whole_at = await connection.fetchval("SELECT max(whole_at) FROM bennu.reconciled")
        await until(lambda: connection.fetchval("SELECT max(began_at) > $1 FROM bennu.reconciled", whole_at))
        await until(lambda: connection.fetchval("SELECT max(whole_at) > $1 FROM bennu.reconciled", whole_at))
        labels = {"app": "bank", "projection": "cells"}
        assert metrics.registry.get_sample_value("bennu_reconcile_tables_not_compared", labels) == 1
        assert metrics.registry.get_sample_value("bennu_reconcile_differences", labels) == 0
        assert metrics.registry.get_sample_value("bennu_reconcile_stopped", labels) == 0
        assert readiness.ready
        assert "table cells: rules change it by plain SQL" in str(readiness.report())
        (row,) = await status.shown(connection, "bank")
        assert status.words(row).endswith("not compared: table cells: rules change it by plain SQL")
        assert not status.is_whole(row)


def test_a_table_that_plain_sql_changes_is_said_not_to_be_compared(database: str) -> None:
    """By metric, readiness and status: nobody takes it for equal."""
    asyncio.run(left_out(database))
