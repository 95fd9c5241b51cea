"""Postgres in trouble: it takes no writes, has no connection left, picks a victim, or was set up by an operator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from bank.v1.events_pb2 import Deposited
from bennu.ops.generations import LIVE
from bennu_qserver import database as databases
from bennu_qserver.limits import POOL_CONNECTIONS
from tests.journal_writer import Entry
from tests.qserver.managed import MARKS, MARKS2, Journals, Operator, Process, managed
from tests.qserver.serving import POLL_S, TIMEOUT_S, bank_world, connected, is_ready, qserver, started, unmet, until
from tests.service_process import Service

pytestmark = pytest.mark.real

SESSIONS = "FROM pg_stat_activity WHERE application_name LIKE 'bennu qserver%' AND datname = current_database()"
END_SESSIONS = f"SELECT pg_terminate_backend(pid) {SESSIONS}"
FEWEST = 3
"""Connections with which QServer gets on: live loops, other work, and the one by which it says that it lives."""


async def waits(service: Service, words: str) -> bool:
    """Whether `/readyz` says so of Postgres."""
    return words in (await unmet(service)).get("postgres", "")


@asynccontextmanager
async def owned(dsn: str) -> AsyncIterator[tuple[str, str]]:
    """A role that owns the database and is no superuser, as in production: its DSN, and its name."""
    parts = urlsplit(dsn)
    role = f"owner_of_{parts.path.removeprefix('/')}"
    async with connected(dsn) as administrator:
        await administrator.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
        await administrator.execute(f"ALTER DATABASE {parts.path.removeprefix('/')} OWNER TO {role}")
    yield parts._replace(netloc=f"{role}:secret@{parts.netloc.rpartition('@')[2]}").geturl(), role


async def read_only(directory: Path, dsn: str) -> None:
    """Every session is made read-only, when QServer has nothing to write, and again under load."""
    async with bank_world(directory, dsn, seed=91, partitions=2) as world, connected(dsn) as administrator:
        service = qserver(directory, dsn, partitions=2)
        async with started(service), made_writable_again(administrator):
            await world.write(10)
            await world.shown()
            for batches in (0, 10):
                await world.write(batches)
                await administrator.execute("ALTER SYSTEM SET default_transaction_read_only = on")
                await administrator.execute("SELECT pg_reload_conf()")
                await until(partial(waits, service, "it takes no writes: a standby, or default_transaction_read_only"))
                await world.write(10)
                await make_writable(administrator)
                await world.shown()
                await until(partial(is_ready, service))


async def make_writable(administrator: "asyncpg.Connection[asyncpg.Record]") -> None:
    """The server's setting is gone."""
    await administrator.execute("ALTER SYSTEM RESET default_transaction_read_only")
    await administrator.execute("SELECT pg_reload_conf()")


@asynccontextmanager
async def made_writable_again(administrator: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[None]:
    """Whatever happens inside the block: others use the server, too."""
    try:
        yield
    finally:
        await make_writable(administrator)


def test_a_server_that_is_read_only_is_waited_for(tmp_path: Path, database: str) -> None:
    """It is said why, also when there is nothing to write; and then all is shown."""
    asyncio.run(read_only(tmp_path, database))


async def out_of_connections(directory: Path, dsn: str) -> None:
    """Another client has all that there are: before QServer starts, and again while it is at work."""
    async with (
        owned(dsn) as (own, role),
        bank_world(directory, dsn, seed=92, partitions=4) as world,
        connected(dsn) as administrator,
    ):
        await administrator.execute(f"ALTER ROLE {role} CONNECTION LIMIT {FEWEST}")
        service = qserver(directory, own, partitions=4)
        full = f'too many connections for role "{role}"'
        await world.write(20)
        async with AsyncExitStack() as running:
            async with taken(own, administrator):
                await running.enter_async_context(started(service))
                await until(partial(waits, service, full))
            await world.shown()
            await until(partial(is_ready, service))
            async with taken(own, administrator):
                await until(partial(waits, service, full))
                await world.write(20)
            await world.shown()
            await until(partial(is_ready, service))
            await world.write(20)
            seen = await administrator.fetchval(f"{SEEN_AT} FROM bennu.workers")
            await until(lambda: administrator.fetchval(f"{SEEN_AT} > $1 FROM bennu.workers", seen))
            await world.shown()


SEEN_AT = "SELECT max(seen_at)"


@asynccontextmanager
async def taken(dsn: str, administrator: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[None]:
    """All connections are another client's inside the block; it takes each as soon as it can be had."""
    async with AsyncExitStack() as opened:
        for _ in range(FEWEST):
            opened.push_async_callback((await take(dsn, administrator)).close)
        yield


async def take(dsn: str, administrator: "asyncpg.Connection[asyncpg.Record]") -> "asyncpg.Connection[asyncpg.Record]":
    """One of them."""
    while True:
        try:
            return await asyncpg.connect(dsn, timeout=TIMEOUT_S)
        except asyncpg.TooManyConnectionsError:
            await administrator.execute(END_SESSIONS)


def test_connections_are_waited_for(tmp_path: Path, database: str) -> None:
    """It says what there is too little of; three are enough for four partitions, and an idle one is used first."""
    asyncio.run(out_of_connections(tmp_path, database))


async def with_defaults(directory: Path, dsn: str) -> None:
    """The role's defaults would end each statement, and show each transaction the past."""
    async with (
        owned(dsn) as (own, role),
        bank_world(directory, dsn, seed=93, partitions=2) as world,
        connected(dsn) as administrator,
    ):
        for default in ("statement_timeout = '1ms'", "default_transaction_isolation = 'serializable'", "jit = on"):
            await administrator.execute(f"ALTER ROLE {role} SET {default}")
        service = qserver(directory, own, partitions=2)
        async with started(service):
            await world.write(50)
            await world.shown()
            await until(partial(is_ready, service))


def test_defaults_of_a_role_are_not_for_qserver(tmp_path: Path, database: str) -> None:
    """Its sessions are set up by itself."""
    asyncio.run(with_defaults(tmp_path, database))


async def switched(dsn: str, *, isolation: str) -> None:
    """A generation is built, and waits inside a transaction for what others commit, while events come."""
    journals = Journals(partitions=2, seed=94)
    await journals.begin()
    await journals.write(20)
    async with connected(dsn) as connection:
        name = urlsplit(dsn).path.removeprefix("/")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'")
        async with managed(journals.log, dsn, MARKS, partitions=2):
            await Operator(connection).shows([1], events=journals.events)
    async with connected(dsn) as connection, managed(journals.log, dsn, MARKS2, partitions=2):
        operator = Operator(connection)
        assert await operator.rebuild() == 2
        while (await operator.states())[2] != LIVE:
            await journals.write(1)
        await operator.shows([2], events=journals.events)


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_whatever_isolation_is_the_default_a_switch_comes_to_its_end(database: str, isolation: str) -> None:
    """In a transaction that sees the past it would wait for ever."""
    asyncio.run(asyncio.wait_for(switched(database, isolation=isolation), TIMEOUT_S))


VICTIM = """
SELECT count(*) > 0 FROM pg_stat_activity
WHERE application_name LIKE 'bennu qserver%' AND datname = current_database() AND wait_event_type = 'Lock'
"""


async def deadlocked(directory: Path, dsn: str) -> None:
    """Somebody has a row of a table, and then wants the position, which QServer's transaction has taken first."""
    async with bank_world(directory, dsn, seed=95) as world, connected(dsn) as administrator:
        await administrator.execute(
            f"ALTER DATABASE {urlsplit(dsn).path.removeprefix('/')} SET deadlock_timeout = '3s'"
        )
        service = qserver(directory, dsn)
        async with started(service), connected(dsn) as other:
            await world.write(20)
            await world.shown()
            await other.execute(
                "SET deadlock_timeout = '1h'"
            )  # so that it is QServer which looks for it, and gives way
            async with other.transaction():
                await other.execute("LOCK TABLE bank.accounts_g1 IN SHARE ROW EXCLUSIVE MODE")
                await world.write(20)
                await until(lambda: administrator.fetchval(VICTIM))
                await other.execute("UPDATE bennu.positions SET updated_at = now()")
            await world.shown()
            await until(partial(is_ready, service))
            assert any("DeadlockDetectedError" in line for line in service.lines())


def test_a_transaction_that_gave_way_in_a_deadlock_is_repeated(tmp_path: Path, database: str) -> None:
    """Position and rows together."""
    asyncio.run(deadlocked(tmp_path, database))


SEEN = "SELECT seen_at FROM bennu.workers WHERE node = 'one'"
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'bennu one' AND datname = current_database() AND wait_event_type = 'Lock'
"""


async def locked_out(dsn: str) -> None:
    """Somebody has locked a table that all loops write, whose connections all wait."""
    many = POOL_CONNECTIONS + 2
    journals = Journals(partitions=many, seed=96)
    await journals.begin()
    async with (
        connected(dsn) as connection,
        connected(dsn) as other,
        managed(journals.log, dsn, MARKS, partitions=many) as process,
    ):
        await journals.write(2)
        await Operator(connection).shows([1], events=journals.events)
        async with other.transaction():
            await other.execute("LOCK TABLE bank.marks_g1 IN SHARE MODE")
            await journals.write(2)
            await until(lambda: all_wait(connection))
            for _ in range(3):
                seen = await connection.fetchval(SEEN)
                await until(partial(is_later, connection, seen))
            assert await connection.fetchval(WAITING) == POOL_CONNECTIONS
            assert len(process.places) == many
        await Operator(connection).shows([1], events=journals.events)


async def all_wait(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Whether the live loops have no connection left."""
    return bool(await connection.fetchval(WAITING) == POOL_CONNECTIONS)


async def is_later(connection: "asyncpg.Connection[asyncpg.Record]", seen: object) -> bool:
    """Whether the process has said once more that it lives."""
    return bool(await connection.fetchval(SEEN) != seen)


def test_a_process_says_that_it_lives_while_all_its_loops_wait(database: str) -> None:
    """Else others would take over its partitions, and wait for the same lock."""
    asyncio.run(locked_out(database))


async def too_slow(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement that Postgres ends each time, until somebody mends it; other statements go on meanwhile."""
    monkeypatch.setattr(databases, "STATEMENT_TIMEOUT_S", 0.5)
    journals = Journals(partitions=2, seed=97)
    await journals.begin()
    async with connected(dsn) as connection, managed(journals.log, dsn, MARKS, partitions=2) as process:
        await journals.write(2)
        await Operator(connection).shows([1], events=journals.events)
        await connection.execute(SLOW)
        for writer in journals.writers:
            await writer.batch([Entry("late", [Deposited(account="a", amount_minor=1)])], recorded_at_us=9)
        await until(lambda: is_said(process, "QueryCanceledError: canceling statement due to statement timeout"))
        for _ in range(3):
            seen = await connection.fetchval(SEEN)
            while await connection.fetchval(SEEN) == seen:
                assert await is_said(process, "QueryCanceledError"), "another transaction's success is not this one's"
                await asyncio.sleep(POLL_S)
        assert await connection.fetchval(OFFSETS) == [journals.writers[1].position.offset]
        await connection.execute("DROP TRIGGER slow ON bank.marks_g1")
        await Operator(connection).shows([1], events=journals.events)
        await until(lambda: is_said(process, ""))


SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON bank.marks_g1 FOR EACH ROW WHEN (NEW.partition = 0) EXECUTE FUNCTION slow()
"""
OFFSETS = "SELECT array_agg(log_offset) FROM bennu.positions WHERE partition = 1"


async def is_said(process: Process, words: str) -> bool:
    """Whether readiness says so of Postgres; no words: whether nothing is wrong."""
    conditions = process.readiness.report()["conditions"]
    assert isinstance(conditions, dict)
    reason = str(conditions[databases.READY]["reason"])
    return words in reason if words else not reason


def test_a_statement_that_takes_too_long_is_named_as_long_as_it_does(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried for ever, and not without a word: readiness is not taken back by transactions that succeed."""
    asyncio.run(too_slow(database, monkeypatch))


PROPORTIONAL = SLOW.replace("pg_sleep(60)", "pg_sleep(0.02)")


async def cut(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows take so long that many of them are more than a statement is given; one batch is not."""
    monkeypatch.setattr(databases, "STATEMENT_TIMEOUT_S", 0.5)
    journals = Journals(seed=98)
    await journals.begin()
    async with connected(dsn) as connection:
        async with managed(journals.log, dsn, MARKS):
            await journals.write(2)
            await Operator(connection).shows([1], events=journals.events)
        await connection.execute(PROPORTIONAL)
        await journals.write(40)
        async with managed(journals.log, dsn, MARKS) as process:
            await until(lambda: is_said(process, "QueryCanceledError: canceling statement due to statement timeout"))
            await Operator(connection).shows([1], events=journals.events)
            await until(lambda: is_said(process, ""))


def test_a_transaction_that_can_not_be_in_time_is_cut_in_two(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And again, until its parts are: it says so, and comes to its end."""
    asyncio.run(cut(database, monkeypatch))
