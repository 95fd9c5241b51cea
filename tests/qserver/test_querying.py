"""What people who query are given: docs/QUERYING.md, example by example, and what it promises."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from bank.projections import Ledger
from bank.v1.events_pb2 import AccountOpened, Deposited
from bennu.domain import BIGINT, TEXT, Column, EventTable, Projection, Table
from bennu.errors import BadSettings
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu_qserver import notices, readers
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.migration import migrate
from bennu_qserver.positions import Place
from bennu_qserver.rows import Write
from tests.journal_writer import Entry, JournalWriter
from tests.qserver.loops import bank_with, looping
from tests.qserver.serving import TIMEOUT_S, connected

PAGE = Path(__file__).parents[2] / "docs" / "QUERYING.md"
TOPIC = "bank-events-0"
Reader: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def blocks(language: str) -> list[str]:
    """The examples."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


@asynccontextmanager
async def bank(dsn: str) -> "AsyncIterator[tuple[JournalWriter, Reader]]":
    """Ann's account with 12.34, projected; a connection that is `bennu_reader`."""
    log = MemoryLog(MemoryBroker())
    await log.create(TOPIC)
    writer = JournalWriter(log, TOPIC)
    await writer.epoch()
    app = bank_with(Ledger, EventTable)
    async with looping(log, dsn, app=app), connected(dsn) as connection, connected(dsn) as owner:
        async with owner.transaction():
            await readers.grant(owner, app="bank")
        await connection.execute("SET ROLE bennu_reader")
        await deposit(writer, 1234)
        yield writer, connection


async def deposit(writer: JournalWriter, balance_minor: int) -> str:
    """One more batch; its token."""
    opened = AccountOpened(account="ann", currency="EUR")
    events = [opened, Deposited(account="ann", currency="EUR", amount_minor=1234, balance_minor=balance_minor)]
    batch_no = writer.position.batch_no + 1
    await writer.batch([Entry(f"c{batch_no}", events)], recorded_at_us=1_700_000_000_000_000 + batch_no)
    return writer.position.token


async def asked(dsn: str) -> list[list[Any]]:
    """What each statement of the page is answered."""
    async with bank(dsn) as (writer, reader):
        assert await reader.fetchval("SELECT bennu.wait_for($1, NULL, 60000)", writer.position.token)
        statements = [each for block in blocks("sql") for each in re.sub(r"--.*", "", block).split(";")]
        return [[tuple(row) for row in await reader.fetch(each)] for each in statements if each.strip()]


@pytest.mark.real
def test_the_page_s_queries_work(database: str) -> None:
    """As the role, all are answered; columns are explained, and what was waited for is there."""
    meanings, rich, _, account, deposited, chain, waited, read, fresh, positions, *_ = asyncio.run(asked(database))
    assert ("balance", "numeric", "balance_minor with 2 digits behind the point") in meanings
    assert all(row[2] for row in meanings)
    assert (waited, read) == ([(True,)], [(Decimal("12.34"),)])
    assert rich == []
    assert [(row[0], *row[2:]) for row in account] == [
        (1, "bank.v1.AccountOpened", None),
        (2, "bank.v1.Deposited", "1234"),
    ]
    assert deposited == [(Decimal(1234),)]
    assert chain == [(0, "c1", f"bank.v1.{name}", "ann") for name in ("AccountOpened", "Deposited")]
    assert fresh == []  # nobody samples in this test
    assert sorted(row[:2] for row in positions) == [("events", 0), ("ledger", 0)]


async def python_of_the_page(dsn: str) -> None:
    """Its functions, called: a write of each, read; and each one told of."""
    found: dict[str, Any] = {}
    for block in blocks("python"):
        exec(block, found)  # noqa: S102 - our own page
    told: asyncio.Queue[str] = asyncio.Queue()
    async with bank(dsn) as (writer, reader):
        assert await found["balance_after"](reader, writer.position.token) == Decimal("12.34")
        await found["changes"](reader, told.put_nowait)
        for number in (2, 3, 4):
            token = await deposit(writer, number * 100)
            assert await found["balance_after"](reader, token) == number
            async with asyncio.timeout(TIMEOUT_S):
                assert json.loads(await told.get()) == {"partition": 0, "batch_no": number}
        assert told.empty()


@pytest.mark.real
def test_the_page_s_python_works(database: str) -> None:
    """Whoever waits for a token reads that write, and hears once of each transaction."""
    asyncio.run(python_of_the_page(database))


async def only_of_the_live(dsn: str) -> None:
    """Notices of two generations; then one that makes sure that all before it were heard."""
    await migrate(dsn)
    told: asyncio.Queue[str] = asyncio.Queue()
    write = Write("", [], 1, "accounts", "")
    async with connected(dsn) as reader, connected(dsn) as one:
        for channel in ("bank_accounts", "end"):
            await reader.add_listener(channel, lambda *heard: told.put_nowait(heard[3]))
        await one.execute(
            "INSERT INTO bennu.generations (app, projection, generation, state, declaration) "
            "VALUES ('bank', 'ledger', 2, 'live', ''), ('bank', 'ledger', 3, 'building', '')"
        )
        for generation in (1, 2, 3):
            await notices.tell(one, Place("bank", "ledger", generation, 0), [write, write], batch_no=generation)
        await one.execute("SELECT pg_notify('end', '')")
        async with asyncio.timeout(TIMEOUT_S):
            assert [await told.get(), await told.get()] == ['{"partition": 0, "batch_no": 2}', ""]


@pytest.mark.real
def test_only_what_people_read_is_told_of(database: str) -> None:
    """A generation that is built, or was live, notifies nobody; a table written by two statements does once."""
    asyncio.run(only_of_the_live(database))


FORBIDDEN = ("SELECT FROM bank.accounts_g1", "SELECT FROM bennu.dead_letters", "DELETE FROM bank.accounts")


async def may_only_read(dsn: str) -> None:
    """As the role; then granted again."""
    async with bank(dsn) as (_, reader):
        for statement in FORBIDDEN:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute(statement)
        settings: list[str] = await reader.fetchval("SELECT rolconfig FROM pg_roles WHERE rolname = 'bennu_reader'")
        assert "statement_timeout=30s" in settings
        await reader.execute("RESET ROLE")
        async with reader.transaction():
            await readers.grant(reader, app="bank")


@pytest.mark.real
def test_the_role_may_only_read(database: str) -> None:
    """Neither tables of generations nor dead letters; granting it again changes nothing."""
    asyncio.run(may_only_read(database))


async def without_the_right(dsn: str) -> None:
    """A user who may not create roles, where the role is not there."""
    await migrate(dsn)
    async with connected(dsn) as connection, connection.transaction():
        await connection.execute("CREATE ROLE poor")
        await connection.execute("SET LOCAL ROLE poor")
        assert not await readers.created(connection)


@pytest.mark.real
def test_who_may_not_create_roles_goes_on(database: str) -> None:
    """It is no error, and an administrator is told what to do."""
    asyncio.run(without_the_right(database))
    assert all(statement.startswith(("CREATE ROLE", "ALTER ROLE")) for statement in readers.CREATE)


FAULTY = {
    "is for a bigint": Column("balance_minor", TEXT, scale=2),
    "that is called NAME_minor": Column("balance", BIGINT, scale=2),
    "of 1 to 18": Column("balance_minor", BIGINT, scale=19),
    "would be called `name`": Column("name_minor", BIGINT, scale=2),
}


@pytest.mark.parametrize(("complaint", "column"), FAULTY.items())
def test_a_scale_that_can_not_be_is_refused(complaint: str, column: Column) -> None:
    """The declaration is at fault, and says where."""

    class Faulty(Projection):
        tables = (Table("things", key=("name",), columns=(Column("name", TEXT), column)),)

    with pytest.raises(BadSettings, match=f"table `things`: column `{column.name}`.*{complaint}"):
        compile_projections(bank_with(Faulty))


def test_the_bank_s_money_is_shown_as_numbers() -> None:
    """Each column of minor units has one beside it."""
    money = [column for table in Ledger.tables for column in table.columns if column.name.endswith("_minor")]
    assert len(money) == 5
    assert all(column.scale == 2 for column in money)
