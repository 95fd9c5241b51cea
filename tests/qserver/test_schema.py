"""What QServer makes in Postgres, and what it refuses to work with."""

import asyncio
import re
from pathlib import Path

import asyncpg
import pytest

from bank.app import app
from bennu.cli.projections_desk import Asked, Desk
from bennu.errors import BadSettings
from bennu.ops.generations import SWITCH
from bennu_qserver import positions, schema
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.migration import migrate
from bennu_qserver.positions import Place
from tests.qserver.loops import make_first
from tests.qserver.serving import bank_world, connected, is_ready, qserver, started, unmet, until
from tests.service_process import Service

pytestmark = pytest.mark.real

README = Path(__file__).parents[2] / "README.md"
TABLES = """
SELECT table_schema || '.' || table_name || ':' || table_type FROM information_schema.tables
WHERE table_schema IN ('bank', 'bennu') ORDER BY 1
"""
COMMENT = (
    "SELECT col_description($1::regclass, attnum) FROM pg_attribute WHERE attrelid = $1::regclass AND attname = $2"
)


async def make(dsn: str) -> None:
    """What every start does."""
    await migrate(dsn)
    async with connected(dsn) as connection, connection.transaction():
        assert await schema.is_migrated(connection)
        for projection in compile_projections(app):
            await make_first(connection, projection)


async def made_twice(dsn: str) -> None:
    """Twice in turn, and what is there then."""
    await make(dsn)
    await make(dsn)
    async with connected(dsn) as connection:
        assert [row[0] for row in await connection.fetch(TABLES)] == [
            "bank.accounts:VIEW",
            "bank.accounts_g1:BASE TABLE",
            "bank.entries:VIEW",
            "bank.entries_g1:BASE TABLE",
            "bank.saga_commands:VIEW",
            "bank.saga_commands_g1:BASE TABLE",
            "bank.saga_steps:VIEW",
            "bank.saga_steps_g1:BASE TABLE",
            "bank.sagas:VIEW",
            "bank.sagas_g1:BASE TABLE",
            "bank.transfers:VIEW",
            "bank.transfers_g1:BASE TABLE",
            "bennu.dead_letters:BASE TABLE",
            "bennu.freshness:BASE TABLE",
            "bennu.generations:BASE TABLE",
            "bennu.positions:BASE TABLE",
            "bennu.projections:BASE TABLE",
            "bennu.qserver_version:BASE TABLE",
            "bennu.reconciled:BASE TABLE",
            "bennu.workers:BASE TABLE",
        ]
        for table in ("bank.accounts", "bank.accounts_g1"):
            assert await connection.fetchval(COMMENT, table, "balance_minor") == "in minor units of the currency"


def test_made_twice(database: str) -> None:
    """A second start finds all as it wants it; tables, views and comments are there."""
    asyncio.run(made_twice(database))


async def asked(dsn: str) -> int:
    """How many statements of the README are answered."""
    blocks = re.findall(r"```sql\n(.*?)```", README.read_text(), re.DOTALL)
    statements = [each for block in blocks for each in re.sub(r"--.*", "", block).split(";") if each.strip()]
    await make(dsn)
    async with connected(dsn) as connection:
        return len([await connection.fetch(each) for each in statements])


def test_the_queries_of_the_readme_work(database: str) -> None:
    """Tables and columns have the names that the README uses."""
    assert asyncio.run(asked(database)) >= 4


async def made_at_once(directory: Path, dsn: str) -> None:
    """Three processes meet an empty database; then a history is projected."""
    async with bank_world(directory, dsn, seed=11) as world:
        services = [qserver(directory, dsn, name=f"q{number}") for number in range(3)]
        async with started(*services):
            await world.write(20)
            await world.shown()
            assert [await asyncio.to_thread(service.stop) for service in services] == [0, 0, 0]


def test_made_by_several_at_once(tmp_path: Path, database: str) -> None:
    """Processes that start together make the schema once, and one of them projects."""
    asyncio.run(made_at_once(tmp_path, database))


CHANGES = {
    "ALTER TABLE bank.accounts_g1 DROP COLUMN owner CASCADE": "bank.accounts_g1.*column owner is not in the table",
    "ALTER TABLE bank.accounts_g1 ADD COLUMN extra text": "bank.accounts_g1.*column extra is not declared",
    "ALTER TABLE bank.entries_g1 ALTER COLUMN transfer SET NOT NULL": (
        "bank.entries_g1.*column transfer is text not null, declared text"
    ),
    "ALTER TABLE bank.transfers_g1 DROP CONSTRAINT transfers_g1_pkey": (
        r"bank.transfers_g1.*its key is \(\), declared \(transfer\)"
    ),
    "INSERT INTO bank.accounts_g1 (account) VALUES ('by hand')": "schema bank: accounts_g1 has rows, but no position",
}


async def refused(dsn: str, change: str, *, complaint: str) -> None:
    """Made, then changed by hand, then made again."""
    await make(dsn)
    async with connected(dsn) as connection:
        await connection.execute(change)
    with pytest.raises(BadSettings, match=complaint):
        await make(dsn)


@pytest.mark.parametrize(("change", "complaint"), CHANGES.items())
def test_a_table_changed_by_hand_is_refused(database: str, change: str, complaint: str) -> None:
    """A table that is not as declared is named, with what is different; nothing is projected into it."""
    asyncio.run(refused(database, change, complaint=complaint))


async def lost(directory: Path, dsn: str) -> None:
    """Projected, stopped, the app's schema dropped without its positions, started."""
    async with bank_world(directory, dsn, seed=12) as world:
        service = qserver(directory, dsn)
        async with started(service):
            await world.write(5)
            await world.shown()
        async with connected(dsn) as connection:
            await connection.execute("DROP SCHEMA bank CASCADE")
        async with started(service), connected(dsn) as connection:
            await until(lambda: says(service, "table bank.accounts_g1 is not there, but its projection has begun"))
            assert "`bennu projections rebuild ledger`" in (await unmet(service))["projections"]
            await Desk(connection, "bank").begin("ledger", Asked("ann", "lost"), wish=SWITCH)
            await until(lambda: is_ready(service))
            await world.shown()


async def says(service: Service, words: str) -> bool:
    """Whether this is why it is not ready."""
    return words in (await unmet(service)).get("projections", "")


def test_lost_tables_are_not_begun_in_the_middle(tmp_path: Path, database: str) -> None:
    """Tables that are gone while the position is not would be filled from the middle: they are rebuilt instead."""
    asyncio.run(lost(tmp_path, database))


async def newer(dsn: str) -> None:
    """The version table names a revision that this package does not have."""
    await make(dsn)
    async with connected(dsn) as connection:
        await connection.execute("UPDATE bennu.qserver_version SET version_num = '9999'")
    with pytest.raises(BadSettings, match=r"can't be brought to this version.*9999"):
        await make(dsn)


def test_tables_of_a_newer_version_are_refused(database: str) -> None:
    """An old QServer does not touch what a newer one has made."""
    asyncio.run(newer(database))


async def without_grants(dsn: str) -> None:
    """A user who may connect and nothing else."""
    async with connected(dsn) as connection:
        await connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reads'")
    name = dsn.rpartition("/")[2]
    address = dsn.partition("@")[2].rpartition("/")[0]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await migrate(f"postgresql://reader:reads@{address}/{name}")


def test_missing_grants_are_told(database: str) -> None:
    """What Postgres says of a user who may not create a schema comes through Alembic unchanged."""
    asyncio.run(without_grants(database))


OLDER = "DELETE FROM bennu.generations; UPDATE bennu.positions SET log_offset = 1"
"""As an installation stands that has projected, and knows nothing of generations."""
FIRST = "SELECT generation, state, declaration FROM bennu.generations WHERE projection = 'ledger'"


async def older(dsn: str, change: str) -> tuple[object, ...]:
    """The first generation as it is taken over from an older version, after this change."""
    await make(dsn)
    (ledger, _) = compile_projections(app)
    place = Place("bank", "ledger", 1, 0)
    async with connected(dsn) as connection, connection.transaction():
        await positions.load(connection, place, topic="bank-events-0", partitions=1)
        await connection.execute(OLDER)
        await connection.execute(change)
        await schema.begin(connection, ledger)
        row = await connection.fetchrow(FIRST)
    assert row is not None
    return row["generation"], row["state"], row["declaration"] == ledger.declaration


@pytest.mark.parametrize(
    ("change", "is_ours"), [("SELECT", True), ("ALTER TABLE bank.accounts_g1 ADD COLUMN extra text", False)]
)
def test_what_an_older_version_has_filled_is_taken_over(database: str, change: str, *, is_ours: bool) -> None:
    """It is generation 1; where its tables are not as declared now, of a declaration that nobody has any more."""
    assert asyncio.run(older(database, change)) == (1, "live", is_ours)
