"""What a switch does to the views that people read, and to those who read them."""

import asyncio
from typing import ClassVar

import pytest

from bank.v1.events_pb2 import Deposited
from bennu.domain import TEXT, Column, EventMeta, Projection, Rows, Table, projects
from bennu.ops.generations import BUILDING, LIVE, REPLACE, SWITCH
from tests.qserver.loops import bank_with
from tests.qserver.managed import MARKS, Journals, Marks, Marks2, Operator, look, managed
from tests.qserver.serving import connected, until

pytestmark = pytest.mark.real

GRANTS = """
SELECT array_agg(grantee || ' ' || privilege_type || ' ' || is_grantable ORDER BY 1)
FROM information_schema.role_table_grants WHERE table_schema = 'bank' AND table_name = 'marks' AND grantee <> grantor
"""
COLUMN_GRANTS = """
SELECT count(*) FROM information_schema.column_privileges
WHERE table_name = 'sums' AND grantee = 'clerk' AND column_name = 'amount'
"""
OPTIONS = "SELECT reloptions FROM pg_class WHERE oid = 'bank.marks'::regclass"
ROLES = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'clerk') THEN CREATE ROLE clerk; CREATE ROLE auditor; END IF;
END $$;
GRANT SELECT ON bank.marks TO clerk;
GRANT SELECT ON bank.marks TO auditor WITH GRANT OPTION;
GRANT SELECT (amount) ON bank.sums TO clerk;
ALTER VIEW bank.marks SET (security_barrier = true);
"""
MARKS_TABLE, SUMS_TABLE = Marks.tables


class More(Marks2):
    """A column more, at the end."""

    tables = (
        Table("marks", key=MARKS_TABLE.key, columns=(*MARKS_TABLE.columns, Column("note", TEXT))),
        SUMS_TABLE,
    )


class Reordered(Marks2):
    """The same columns in another order."""

    tables = (Table("marks", key=MARKS_TABLE.key, columns=MARKS_TABLE.columns[::-1]), SUMS_TABLE)


class Fewer(Projection):
    """One of its tables is no longer declared."""

    name: ClassVar[str] = "marks"
    tables = (MARKS_TABLE,)

    @projects
    def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
        place = {"partition": meta.partition, "seq": meta.seq}
        rows.upsert("marks", place, amount=event.amount_minor, made_by=2)


async def projected(dsn: str) -> Journals:
    """By the first build, which then ends; roles have rights, and a view depends on one of ours."""
    journals = Journals(seed=71)
    await journals.begin()
    await journals.write(5)
    async with connected(dsn) as connection, managed(journals.log, dsn, MARKS):
        await Operator(connection).shows([1], events=journals.events)
        await connection.execute(ROLES)
    return journals


async def kept(dsn: str, projection: type[Projection], *, wish: str) -> None:
    """Switched by another build; rights and options are as they were."""
    journals = await projected(dsn)
    async with connected(dsn) as connection, managed(journals.log, dsn, bank_with(projection)):
        operator = Operator(connection)
        if wish == SWITCH:
            await connection.execute("CREATE VIEW public.large AS SELECT seq FROM bank.marks WHERE made_by = 2")
        before = [await connection.fetchval(each) for each in (GRANTS, COLUMN_GRANTS, OPTIONS)]
        assert before[0] == ["auditor SELECT YES", "clerk SELECT NO"]
        await operator.rebuild(wish=wish)
        await operator.come(2, LIVE)
        assert [await connection.fetchval(each) for each in (GRANTS, COLUMN_GRANTS, OPTIONS)] == before
        await operator.shows([2], events=journals.events)
        if wish == SWITCH:
            assert await connection.fetchval("SELECT count(*) FROM public.large") == journals.events


@pytest.mark.parametrize(("projection", "wish"), [(Marks2, SWITCH), (More, SWITCH), (Reordered, REPLACE)])
def test_permissions_and_dependent_views_survive(database: str, projection: type[Projection], wish: str) -> None:
    """Also with a column more at the end; and where views are made anew, what was granted is granted again."""
    asyncio.run(kept(database, projection, wish=wish))


async def refused(dsn: str) -> None:
    """Other columns, without and with leave to make views anew, while another view depends on one."""
    journals = await projected(dsn)
    async with connected(dsn) as connection, managed(journals.log, dsn, bank_with(Reordered)):
        operator = Operator(connection)
        await connection.execute("CREATE VIEW public.large AS SELECT seq FROM bank.marks")
        await operator.rebuild()
        said = await operator.problem(2)
        assert "switch: column 1 of view bank.marks is partition bigint, declared made_by bigint" in said
        assert "`bennu projections switch marks --to 2 --replace-views`" in said
        await operator.wish(2, REPLACE)
        assert "view large depends on view bank.marks" in await operator.problem(2)
        assert (await operator.states())[1] == LIVE
        await connection.execute("DROP VIEW public.large")
        await operator.wish(2, REPLACE)
        await operator.come(2, LIVE)


def test_a_view_that_must_change_is_refused_and_dependents_are_named(database: str) -> None:
    """Nothing is dropped unasked; and never what depends on it."""
    asyncio.run(refused(database))


async def of_fewer(dsn: str) -> None:
    """A table goes."""
    journals = await projected(dsn)
    async with connected(dsn) as connection, managed(journals.log, dsn, bank_with(Fewer)):
        operator = Operator(connection)
        await operator.rebuild()
        assert 'switch: "bank"."sums" is no longer declared' in await operator.problem(2)
        await operator.wish(2, REPLACE)
        await operator.come(2, LIVE)
        assert await connection.fetchval("SELECT to_regclass('bank.sums')") is None
        assert await connection.fetchval("SELECT count(*) FROM bank.marks WHERE made_by = 2") == journals.events


def test_a_view_of_a_table_that_goes_is_dropped_only_when_asked(database: str) -> None:
    """It is named first."""
    asyncio.run(of_fewer(database))


async def with_reader(dsn: str) -> None:
    """A transaction has read a view and goes on."""
    journals = await projected(dsn)
    async with (
        connected(dsn) as reader,
        connected(dsn) as connection,
        managed(journals.log, dsn, bank_with(Marks2)),
    ):
        operator = Operator(connection)
        async with reader.transaction():
            assert await reader.fetchval("SELECT max(made_by) FROM bank.sums") == 1
            await operator.rebuild()
            assert await operator.problem(2) == (
                "switch: waits for readers whose transactions hold the views; it tries again"
            )
            assert await reader.fetchval("SELECT max(made_by) FROM bank.marks") == 1
        await operator.come(2, LIVE)
        await until(lambda: reader.fetchval("SELECT bool_and(made_by = 2) FROM bank.marks"))


SWITCHES = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND query LIKE 'CREATE OR REPLACE VIEW%' AND datname = current_database()
)
"""


async def cut_off(dsn: str) -> None:
    """The process ends while it switches: one view is replaced, and a reader holds the other one."""
    journals = await projected(dsn)
    async with connected(dsn) as reader, connected(dsn) as connection:
        operator = Operator(connection)
        async with reader.transaction():
            await reader.fetchval("SELECT count(*) FROM bank.sums")
            async with managed(journals.log, dsn, bank_with(Marks2)):
                await operator.rebuild()
                await until(lambda: connection.fetchval(SWITCHES))
            assert await operator.states() == {1: LIVE, 2: BUILDING}
            assert await look(reader) == ([1], journals.events)
        await journals.write(5)
        async with managed(journals.log, dsn, bank_with(Marks2)):
            await operator.come(2, LIVE)
            await operator.shows([2], events=journals.events)


def test_a_switch_that_is_cut_off_has_not_begun(database: str) -> None:
    """All views are the old ones, and the next process switches."""
    asyncio.run(cut_off(database))


def test_a_reader_never_gives_way(database: str) -> None:
    """A transaction that has read one view reads the same generation in the others; the switch waits for its end."""
    asyncio.run(with_reader(database))
