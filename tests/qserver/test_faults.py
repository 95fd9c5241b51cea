"""QServer processes and Postgres, killed, cut off and suspended: nothing is lost, and all of it is said."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from bennu.ops.postgres import SCHEMA_LOCK, check_ports
from bennu.stack.ports import free_port
from bennu.stack.postgres import Postgres
from tests.qserver.serving import TIMEOUT_S, bank_world, connected, frozen, is_ready, qserver, started, unmet, until
from tests.service_process import Service

pytestmark = pytest.mark.real

EX_CONFIG = 78
ENDED_SESSIONS = 12
SESSIONS = "FROM pg_stat_activity WHERE application_name LIKE 'bennu qserver%' AND datname = current_database()"
MIGRATES = """
SELECT pid FROM pg_stat_activity
WHERE application_name = 'bennu migration' AND datname = current_database() AND wait_event_type = 'Lock'
"""
WAITS_FOR_LOCK = f"SELECT pid {SESSIONS} AND wait_event_type = 'Lock'"
STATE = """
SELECT (SELECT log_offset FROM bennu.positions WHERE projection = 'ledger'), (SELECT count(*) FROM bank.accounts_g1)
"""


async def ready(*services: Service) -> None:
    """Wait until all are."""
    for service in services:
        await until(partial(is_ready, service))


async def waits_for_postgres(service: Service) -> bool:
    """Whether it is not ready for that reason."""
    return (await unmet(service)).get("postgres", "").startswith("waiting for Postgres: ")


def check_words(service: Service, dsn: str) -> None:
    """It has said that it waits for Postgres, and no secret."""
    text = "\n".join(service.lines())
    assert '"peer": "Postgres"' in text
    assert str(urlsplit(dsn).password) not in text
    assert "postgresql://" not in text


async def taken_over(directory: Path, dsn: str) -> None:
    """Two at once; each is killed in turn."""
    async with bank_world(directory, dsn, seed=41, partitions=4) as world:
        one, other = (qserver(directory, dsn, partitions=4, name=f"qserver-{number}") for number in (1, 2))
        async with started(one, other):
            await ready(one, other)
            await world.write(30)
            await world.shown()
            for service in (one, other):
                await world.write(10)
                await asyncio.to_thread(service.kill)
                await world.write(10)
                await world.shown()
                await service.start()
                await ready(one, other)


def test_one_that_is_gone_is_replaced(tmp_path: Path, database: str) -> None:
    """Two processes share partitions; when one is killed, the other goes on with all, and each event is shown once."""
    asyncio.run(taken_over(tmp_path, database))


@asynccontextmanager
async def held_in_transaction(dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    """No transaction can get beyond its position to its rows inside the block."""
    async with connected(dsn) as connection, connection.transaction():
        await connection.execute("LOCK TABLE bank.accounts_g1 IN EXCLUSIVE MODE")
        yield connection


async def killed_between(directory: Path, dsn: str) -> None:
    """Killed when the position is moved and the rows are not yet written."""
    async with bank_world(directory, dsn, seed=42) as world, connected(dsn) as watcher:
        service = qserver(directory, dsn)
        async with started(service):
            await world.write(20)
            await world.shown()
            before = await watcher.fetchrow(STATE)
            async with held_in_transaction(dsn):
                await world.write(20)
                await until(lambda: watcher.fetchval(WAITS_FOR_LOCK))
                await asyncio.to_thread(service.kill)
            await until(lambda: watcher.fetchval(f"SELECT count(*) = 0 {SESSIONS}"))
            assert await watcher.fetchrow(STATE) == before
            await service.start()
            await world.shown()


def test_position_and_rows_are_one_transaction(tmp_path: Path, database: str) -> None:
    """Killed between the position and its rows, neither is there; the next process writes both."""
    asyncio.run(killed_between(tmp_path, database))


async def cut_off(directory: Path, dsn: str) -> None:
    """Its sessions are ended by an administrator, again and again, under load."""
    async with bank_world(directory, dsn, seed=43, partitions=2) as world, connected(dsn) as administrator:
        service = qserver(directory, dsn, partitions=2)
        async with started(service):
            ended = 0
            while ended < ENDED_SESSIONS:
                await world.write(3)
                ended += len(await administrator.fetch(f"SELECT pg_terminate_backend(pid) {SESSIONS}"))
            await world.shown()
            await ready(service)
            check_words(service, dsn)
            assert await asyncio.to_thread(service.stop) == 0


def test_ended_sessions_lose_nothing(tmp_path: Path, database: str) -> None:
    """Connections that are terminated in the middle of transactions cost repetitions, and no row twice or never."""
    asyncio.run(cut_off(tmp_path, database))


async def killed_and_started(directory: Path, dsn: str, *, postgres: Postgres) -> None:
    """Postgres is killed when nothing is written, and again under load."""
    async with bank_world(directory, dsn, seed=44) as world:
        service = qserver(directory, dsn)
        async with started(service):
            for _ in range(2):
                await asyncio.to_thread(postgres.server.kill)
                await until(lambda: waits_for_postgres(service))
                await world.write(20)
                await asyncio.to_thread(postgres.server.start)
                await world.write(20)
                await world.shown()
                await ready(service)
                await world.write(20)
            check_words(service, dsn)


def test_postgres_is_waited_for(tmp_path: Path, postgres: Postgres, database: str) -> None:
    """While Postgres is down, also from the start or with nothing to write, QServer is not ready; then all is shown."""
    asyncio.run(killed_and_started(tmp_path, database, postgres=postgres))


async def suspended(directory: Path, dsn: str, *, postgres: Postgres) -> None:
    """Postgres hangs in the middle of a transaction when QServer is asked to stop."""
    async with bank_world(directory, dsn, seed=45) as world, connected(dsn) as watcher:
        service = qserver(directory, dsn)
        async with started(service):
            await ready(service)
            async with held_in_transaction(dsn):
                await world.write(20)
                await until(lambda: watcher.fetchval(WAITS_FOR_LOCK))
                backends = [row["pid"] for row in await watcher.fetch(f"SELECT pid {SESSIONS}")]
                with frozen(postgres.server.pid, *backends):
                    assert await asyncio.to_thread(service.stop) == 0


def test_it_stops_though_postgres_hangs(tmp_path: Path, postgres: Postgres, database: str) -> None:
    """Asked to stop while Postgres neither answers nor takes connections, QServer ends by itself, with exit code 0."""
    asyncio.run(suspended(tmp_path, database, postgres=postgres))


async def stopped_while_migrating(directory: Path, dsn: str, *, postgres: Postgres) -> None:
    """Another process makes the schema and does not come to an end; then Postgres hangs too."""
    service = qserver(directory, dsn)
    async with connected(dsn) as watcher, connected(dsn) as other, other.transaction():
        await other.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
        for hangs in (False, True):
            async with started(service):
                await until(lambda: watcher.fetchval(MIGRATES))
                backends = [row["pid"] for row in await watcher.fetch(MIGRATES)]
                with frozen(*([postgres.server.pid, *backends] if hangs else [])):
                    assert await asyncio.to_thread(service.stop) == 0
            await watcher.fetch(f"SELECT pg_terminate_backend(pid, 10000) FROM ({MIGRATES})")  # none sees its client go


def test_it_stops_while_it_waits_for_the_schema(tmp_path: Path, postgres: Postgres, database: str) -> None:
    """Asked to stop while another process makes the schema, QServer ends with exit code 0, also if Postgres hangs."""
    asyncio.run(stopped_while_migrating(tmp_path, database, postgres=postgres))


async def stopped_while_waiting(directory: Path, dsn: str) -> None:
    """There is no Postgres at that address; then there is one, and no journal."""
    nobody = f"postgresql://u:unguessable@127.0.0.1:{free_port()}/db"
    service = qserver(directory, nobody)
    async with started(service):
        await until(lambda: waits_for_postgres(service))
        assert await asyncio.to_thread(service.stop) == 0
        check_words(service, nobody)
    service = qserver(directory, dsn, name="qserver-2")
    async with started(service):
        await until(lambda: waits_for_journal(service))
        assert await asyncio.to_thread(service.stop) == 0


async def waits_for_journal(service: Service) -> bool:
    """Whether it is not ready because the topic isn't there."""
    return "bank-events-0" in (await unmet(service)).get("log", "")


def test_it_stops_while_it_waits(tmp_path: Path, database: str) -> None:
    """Asked to stop while it waits for Postgres or for a journal, QServer ends with exit code 0."""
    asyncio.run(stopped_while_waiting(tmp_path, database))


def last_words(dsn: str) -> str:
    """The last line of a QServer that ends for its settings."""
    command = [sys.executable, "-m", "bennu_qserver", "--app", "bank.app:app", "--log", "memory:"]
    environ = os.environ | {"BENNU_POSTGRES": dsn}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert ended.returncode == EX_CONFIG
    assert '"error": "BadSettings"' in ended.stderr
    assert "unguessable" not in ended.stderr
    return ended.stderr


def test_a_wrong_password_is_told_and_not_shown(database: str) -> None:
    """A password that Postgres refuses ends the process with code 78, and stands in no line."""
    right = str(urlsplit(database).password)
    assert "password authentication failed" in last_words(database.replace(right, "unguessable"))


@pytest.mark.parametrize(
    ("dsn", "words"),
    [
        ("unguessable", "invalid DSN"),
        ("http://u:unguessable@127.0.0.1/db", "invalid DSN"),
        ("postgresql://u:unguessable", "port"),
        ("postgresql://u:unguessable@h:99999/db", "port"),
        ("postgresql://u:unguessable@127.0.0.1/db?sslmode=maybe", "sslmode"),
    ],
)
def test_a_url_that_is_none_is_told_and_not_shown(dsn: str, words: str) -> None:
    """A URL that can't be one of Postgres ends the process with code 78, and its password stands in no line."""
    assert words in last_words(dsn)


@pytest.mark.parametrize("hosts", ["h", "h:1", "[::1]", "[::1]:5432", "h:1,i:65535", ""])
def test_urls_with_good_ports_pass(hosts: str) -> None:
    """Names, numbers, several hosts and IPv6 may have ports or none."""
    check_ports(f"postgresql://user:pass:word@{hosts}/db")
