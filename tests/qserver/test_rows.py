"""Row changes merged per key write what they would have written one by one."""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import asyncpg
import pytest

from bennu.domain import BIGINT, BOOLEAN, DAY, JSONB, TEXT, TIMESTAMP, Column, Rows, Table
from bennu.domain.plain_sql import parsed
from bennu.domain.projection import ByTime
from bennu_qserver.errors import EventFault, ProjectionFailed
from bennu_qserver.executing import execute
from bennu_qserver.plain_calls import plain_calls
from bennu_qserver.rows import RowChanges
from bennu_qserver.statements import Statement
from bennu_qserver.tables import StoredTable, create_statements
from tests.qserver.history import at
from tests.qserver.serving import connected

TABLE = Table(
    "things",
    key=("name", "number"),
    columns=(
        Column("flag", BOOLEAN),
        Column("name", TEXT),
        Column("amount", BIGINT),
        Column("maybe", BIGINT, nullable=True),
        Column("number", BIGINT),
        Column("note", TEXT, nullable=True),
        Column("moment", TIMESTAMP),
        Column("said", JSONB, nullable=True),
        Column("rich", BOOLEAN, formula="amount > 5"),
    ),
    owner="name",
)
STORED = StoredTable("public", 1, TABLE)
COUNT = "UPDATE {things} SET maybe = coalesce(things.maybe, 0) + 1, note = $2 WHERE name = $1 AND flag"
CALLS = plain_calls({COUNT: parsed(COUNT, {"things": TABLE}, "here")}, {"things": STORED})
NEW_ROW = {"flag": False, "amount": 0, "maybe": None, "note": None, "moment": 0, "said": None}
MOMENTS_US = (-62_135_596_800_000_000, -1, 0, 1, 1_700_000_000_123_457, 253_402_300_799_999_999)

Row = dict[str, Any]
Model = dict[tuple[str, int], Row]


def new_rows() -> RowChanges:
    """Nothing changed yet."""
    return RowChanges({"things": Statement(STORED)}, "topic-0", CALLS)


class Changing:
    """Changes rows at random, in `rows` and, one by one, in a model."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.model: Model = {}

    def change(self, rows: Rows) -> None:
        """One change that a projection may make."""
        place = (self.random.choice("ab"), self.random.randrange(3))
        key: Row = dict(zip(TABLE.key, place, strict=True))
        kind = self.random.choice(("upsert", "update", "increment", "append", "delete", "where", "where", "sql"))
        there = place in self.model
        match kind:
            case "upsert":
                values = self._values()
                rows.upsert("things", key, **values)
                self.model[place] = self.model.get(place, NEW_ROW) | values
            case "update":
                values = self._values()
                rows.update("things", key, **values)
                if there:
                    self.model[place] = self.model[place] | values
            case "increment":
                self._increment(rows, key, place)
            case "append" if not there:
                values = self._values()
                rows.append("things", **values | key)
                self.model[place] = NEW_ROW | values
            case "delete":
                rows.delete("things", key)
                self.model.pop(place, None)
            case "where":
                self._look(rows, place[0])
            case "sql" if self.random.random() < 0.5:
                self._call(rows, place[0])

    def _look(self, rows: Rows, name: str) -> None:
        """For rows of one owner by other columns, of which some may be NULL, and some are set."""
        where: Row = {"name": name} | {
            column: self.random.choice(values)
            for column, values in {"flag": (True, False), "maybe": (None, 1), "number": (0, 1)}.items()
            if self.random.random() < 0.4
        }
        found = [
            key
            for key, row in self.model.items()
            if where.items() <= (row | dict(zip(TABLE.key, key, strict=True))).items()
        ]
        if self.random.random() < 0.2:
            rows.delete_where("things", where)
            for key in found:
                del self.model[key]
        else:
            values = self._values() if self.random.random() < 0.5 else {"maybe": self.random.choice((None, 1))}
            rows.update_where("things", where, **values)
            for key in found:
                self.model[key] = self.model[key] | values

    def _call(self, rows: Rows, name: str) -> None:
        rows.sql(COUNT, name, name)
        for key, row in self.model.items():
            if key[0] == name and row["flag"]:
                self.model[key] = row | {"maybe": (row["maybe"] or 0) + 1, "note": name}

    def _increment(self, rows: Rows, key: Row, place: tuple[str, int]) -> None:
        amounts = {name: self.random.randrange(-5, 5) for name in ("amount", "maybe") if self.random.random() < 0.6}
        rows.increment("things", key, **amounts)
        row = dict(self.model.get(place, NEW_ROW))
        self.model[place] = row | {name: (row[name] or 0) + amount for name, amount in amounts.items()}

    def _values(self) -> Row:
        choices: dict[str, tuple[Any, ...]] = {
            "flag": (True, False),
            "amount": (-(2**63) + 1000, 0, 7, 2**63 - 1000),
            "maybe": (None, 1, -1),
            "note": (None, "", "x", "it's \\ 😀"),
            "moment": MOMENTS_US,
            "said": (None, '{"a": [1, "\\\\u0000"]}', '"\\u0001 😀"'),
        }
        names = [name for name in choices if self.random.random() < 0.4]
        return {name: self.random.choice(choices[name]) for name in names}


async def write(connection: "asyncpg.Connection[asyncpg.Record]", rows: RowChanges) -> None:
    """As the loop does."""
    async with connection.transaction():
        for one in rows.writes():
            await execute(connection, one)


async def stored(connection: "asyncpg.Connection[asyncpg.Record]") -> Model:
    """The table's rows."""
    found = await connection.fetch(f"SELECT * FROM {STORED.sql}")
    return {(row["name"], row["number"]): {name: row[name] for name in (*NEW_ROW, "rich")} for row in found}


async def compare(dsn: str, *, seeds: int) -> None:
    """Random changes in transactions of random sizes; after each the table is the model."""
    async with connected(dsn) as connection:
        for statement in create_statements(STORED):
            await connection.execute(statement)
        for seed in range(seeds):
            await connection.execute(f"TRUNCATE {STORED.sql}")
            changing = Changing(Random(seed))
            for _ in range(4):
                rows = new_rows()
                for _ in range(changing.random.randrange(1, 25)):
                    changing.change(rows)
                await write(connection, rows)
                assert await stored(connection) == shown(changing.model), f"seed {seed}"


def shown(model: Model) -> Model:
    """The model as Postgres gives it back."""
    return {key: row | {"moment": at(row["moment"]), "rich": row["amount"] > 5} for key, row in model.items()}


@pytest.mark.real
def test_merged_changes_equal_single_ones(database: str) -> None:
    """Whatever is changed in whatever order, the merged statements leave the rows that single changes would."""
    asyncio.run(compare(database, seeds=150))


async def in_turn(dsn: str) -> int:
    """A row that the second search finds because of the first one."""
    async with connected(dsn) as connection:
        for statement in create_statements(STORED):
            await connection.execute(statement)
        rows = new_rows()
        rows.append("things", name="a", number=1, maybe=1)
        rows.update_where("things", {"name": "a", "maybe": 1}, maybe=2)
        rows.update_where("things", {"name": "a", "maybe": 2}, maybe=3)
        await write(connection, rows)
        return int(await connection.fetchval(f"SELECT maybe FROM {STORED.sql}"))


@pytest.mark.real
def test_a_search_sees_what_the_one_before_it_wrote(database: str) -> None:
    """Searches that change what others look for are written one after another."""
    assert asyncio.run(in_turn(database)) == 3


def test_searches_of_many_owners_are_one_statement() -> None:
    """And so are those of one owner that find rows apart."""
    rows = new_rows()
    for number in range(100):
        rows.upsert("things", {"name": f"a{number}", "number": 1}, amount=1)
        rows.update_where("things", {"name": f"a{number}", "flag": True}, amount=2)
        rows.update_where("things", {"name": f"a{number}", "flag": False}, amount=3)
    assert statements_of(rows) == [("INSERT", 100), ("UPDATE", 200)]


async def append_over(dsn: str) -> None:
    """A row is there; an update and an append of it follow."""
    async with connected(dsn) as connection:
        for statement in create_statements(STORED):
            await connection.execute(statement)
        rows = new_rows()
        rows.append("things", name="a", number=1)
        await write(connection, rows)
        rows = new_rows()
        rows.update("things", {"name": "a", "number": 1}, amount=7)
        rows.append("things", name="a", number=1)
        with pytest.raises(EventFault, match="duplicate key"):
            await write(connection, rows)


@pytest.mark.real
def test_no_row_is_appended_over(database: str) -> None:
    """A row that is there is never overwritten by an append, though an update of it came before."""
    asyncio.run(append_over(database))


def statements_of(rows: RowChanges) -> list[tuple[str, int]]:
    """First word and number of rows of each statement."""
    return [(one.sql.split()[0], one.rows) for one in rows.writes()]


def test_many_changes_of_a_row_are_one() -> None:
    """A thousand changes of ten rows are one statement of ten rows."""
    rows = new_rows()
    for number in range(1000):
        rows.increment("things", {"name": "a", "number": number % 10}, amount=1)
    assert statements_of(rows) == [("INSERT", 10)]


def test_mended_texts_are_counted() -> None:
    """Each value with a zero byte counts once, however many it has."""
    rows = new_rows()
    rows.upsert("things", {"name": "a", "number": 1}, note="\0\0")
    rows.upsert("things", {"name": "b", "number": 1}, note="good")
    assert [one.mended for one in rows.writes()] == [1]


def test_an_update_without_columns_writes_nothing() -> None:
    """An update that sets no column needs no statement."""
    rows = new_rows()
    rows.update("things", {"name": "a", "number": 1})
    assert statements_of(rows) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda rows: rows.upsert("nothing", {}), "no table `nothing` is declared; there are things"),
        (lambda rows: rows.upsert("things", {"name": "a"}), r"has the key \(name, number\), not \(name\)"),
        (lambda rows: rows.upsert("things", {"name": "a", "number": 1}, other=1), "has no column `other`"),
        (lambda rows: rows.update("things", {"name": "a", "number": 1}, name="b"), "`name` is its key"),
        (lambda rows: rows.update("things", {"name": "a", "number": 1}, rich=True), "`rich` is computed"),
        (lambda rows: rows.append("things", name="a"), "a new row needs number"),
        (lambda rows: rows.increment("things", {"name": "a", "number": 1}, note=1), "column `note`: is of type text"),
        (lambda rows: rows.update_where("things", {"flag": True}, amount=1), "say whose they are, by `name`"),
        (lambda rows: rows.delete_where("things", {}), "looks for rows by nothing"),
        (lambda rows: rows.update_where("things", {"name": "a"}, number=1), "`number` is its key"),
        (lambda rows: rows.update_where("things", {"name": "a", "other": 1}, amount=1), "has no column `other`"),
        (lambda rows: rows.update_where("things", {"name": "a", "flag": None}, amount=1), "`flag` is never NULL"),
        (lambda rows: rows.sql("DELETE FROM {things}"), "is not among the `statements`"),
        (lambda rows: rows.sql(COUNT, "a"), "takes 2 values, not 1"),
        (lambda rows: rows.sql(COUNT, "a", 1.5), r"\$2 is a float"),
        (lambda rows: rows.sql(COUNT, "a", "\ud800"), r"\$2 is a text that is no valid Unicode"),
    ],
)
def test_changes_that_the_table_does_not_allow_are_refused(
    change: Callable[[RowChanges], None], complaint: str
) -> None:
    """A change of a table, key or column that was not declared, or can't be added to, is refused in words."""
    with pytest.raises(ProjectionFailed, match=complaint):
        change(new_rows())


def test_a_row_is_appended_once() -> None:
    """Appending a row that the same transaction has made is refused."""
    rows = new_rows()
    rows.upsert("things", {"name": "a", "number": 1})
    with pytest.raises(ProjectionFailed, match="appends a row that is there"):
        rows.append("things", name="a", number=1)


def test_searches_by_what_is_computed_go_one_after_another() -> None:
    """The first one may have changed what the second one looks for."""
    rows = new_rows()
    for rich, amount in ((True, 1), (False, 9)):
        rows.update_where("things", {"name": "a", "rich": rich}, amount=amount)
    assert len(list(rows.writes())) == 2


BY_DAY = StoredTable(
    "public",
    1,
    Table(
        "days",
        key=("name", "day"),
        owner="name",
        by_time=ByTime("day", DAY, keep_days=30),
        columns=(Column("name", TEXT), Column("day", TIMESTAMP), Column("amount", BIGINT)),
    ),
)


@pytest.mark.parametrize(
    ("change", "where"), [("update", "key"), ("delete", "key"), ("update_where", "name"), ("delete_where", "name")]
)
def test_nothing_looks_for_rows_in_all_days(change: str, where: str) -> None:
    """Postgres would lock hundreds of pieces and their indexes for it, in each transaction."""
    rows = RowChanges({"days": Statement(BY_DAY)}, "topic-0")
    place = {"name": "a", "day": 0} if where == "key" else {"name": "a"}
    values = {"amount": 1} if change.startswith("update") else {}
    with pytest.raises(ProjectionFailed, match="kept by day"):
        getattr(rows, change)("days", place, **values)
    rows.increment("days", {"name": "a", "day": 0}, amount=1)
