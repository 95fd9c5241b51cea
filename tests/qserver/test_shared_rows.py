"""Rows that several partitions write come out the same in whatever order."""

import asyncio
import time
from random import Random
from typing import Any

import pytest

from bennu.domain import BIGINT, DAY, MAX, MIN, SUM, TEXT, TIMESTAMP, Column, Table
from bennu.domain.projection import ByTime
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.executing import execute
from bennu_qserver.rows import RowChanges
from bennu_qserver.statements import Statement
from bennu_qserver.tables import StoredTable, create_statements
from tests.qserver.history import at
from tests.qserver.serving import connected

TABLE = Table(
    "sums",
    key=("kind", "number"),
    shared=True,
    columns=(
        Column("kind", TEXT),
        Column("number", BIGINT),
        Column("total", BIGINT, merge=SUM),
        Column("first", TIMESTAMP, nullable=True, merge=MIN),
        Column("last", TEXT, nullable=True, merge=MAX),
    ),
)
STORED = StoredTable("public", 1, TABLE)
TEXTS = ("", "a", "B", "Z", "é", "\0", "\uffff", "😀")
"""Code points order otherwise than most languages do; a zero byte is kept as U+FFFD, and compared as such."""
LIKE_PEOPLE = "SELECT collname FROM pg_collation WHERE collname IN ('en-x-icu', 'en_US.utf8', 'en_US') LIMIT 1"

Row = dict[str, Any]


def new_rows() -> RowChanges:
    """Nothing changed yet."""
    return RowChanges({"sums": Statement(STORED)}, "topic-0")


def change(random: Random, rows: RowChanges, model: dict[tuple[str, int], list[Row]]) -> None:
    """One that a projection may make; the model keeps what was said of each row."""
    place = (random.choice("ab"), random.randrange(2))
    key: Row = dict(zip(TABLE.key, place, strict=True))
    said = model.setdefault(place, [])
    if random.random() < 0.5:
        amount = random.randrange(-9, 9)
        rows.increment("sums", key, total=amount)
        said.append({"total": amount})
    else:
        text = "".join(random.choice(TEXTS) for _ in range(3))
        values: Row = {"first": random.randrange(-(10**15), 10**15), "last": random.choice((None, text))}
        names = [name for name in values if random.random() < 0.6]
        chosen = {name: values[name] for name in names}
        rows.upsert("sums", key, **chosen)
        said.append(chosen)


def merged(said: list[Row]) -> tuple[Any, ...]:
    """A row, as SUM, MIN and MAX have it."""
    total = sum(values.get("total", 0) for values in said)
    first = min((values["first"] for values in said if values.get("first") is not None), default=None)
    texts = [values["last"].replace("\0", "\ufffd") for values in said if values.get("last") is not None]
    last = max(texts, default=None)
    return total, None if first is None else at(first), last


async def side_by_side(dsn: str, *, seed: int) -> None:
    """Transactions of two partitions, which take turns and overtake one another."""
    random, model = Random(seed), dict[tuple[str, int], list[Row]]()
    async with connected(dsn) as one, connected(dsn) as other:
        for statement in create_statements(STORED):
            await one.execute(statement)
        for row in await one.fetch(LIKE_PEOPLE):  # where Postgres has such an order, it must not matter
            await one.execute(f'ALTER TABLE {STORED.sql} ALTER last TYPE text COLLATE "{row[0]}"')

        async def write(connection: Any) -> None:  # noqa: ANN401 - a connection of asyncpg
            for _ in range(15):
                rows = new_rows()
                for _ in range(random.randrange(1, 10)):
                    change(random, rows, model)
                async with connection.transaction():
                    for each in rows.writes():
                        await execute(connection, each)

        await asyncio.gather(write(one), write(other))
        found = await one.fetch(f"SELECT kind, number, total, first, last FROM {STORED.sql}")
    assert {tuple(row)[:2]: tuple(row)[2:] for row in found} == {key: merged(said) for key, said in model.items()}


@pytest.mark.real
@pytest.mark.parametrize("seed", range(4))
def test_what_is_shared_is_the_merge_of_all(database: str, seed: int) -> None:
    """Sums, greatest and least values of all that was ever said, and no deadlock, though both write the same rows."""
    print(f"seed {seed}")
    asyncio.run(side_by_side(database, seed=seed))


@pytest.mark.parametrize(
    ("change", "arguments", "complaint"),
    [
        ("update", {"total": 1}, "`sums` is shared: update would depend on how far other partitions are"),
        ("delete", {}, "delete would depend"),
        ("update_where", {"total": 1}, "update_where would depend"),
        ("delete_where", {}, "delete_where would depend"),
        ("upsert", {"total": 1}, "column `total`: is a sum, which is incremented"),
        ("increment", {"last": 1}, "column `last`: is a max, which is upserted"),
        ("upsert", {"other": 1}, "column `other`: is none that is merged"),
    ],
)
def test_what_depends_on_the_order_is_refused(change: str, arguments: dict[str, Any], complaint: str) -> None:
    """Nothing that comes out otherwise when partitions overtake one another can be said of a shared table."""
    with pytest.raises(ProjectionFailed, match=complaint):
        getattr(new_rows(), change)("sums", {"kind": "a", "number": 1}, **arguments)


def test_rows_are_written_in_the_order_of_their_keys() -> None:
    """By one statement, whatever was changed and when: else two partitions could wait each for the other."""
    rows = new_rows()
    rows.increment("sums", {"kind": "b", "number": 1}, total=1)
    rows.upsert("sums", {"kind": "a", "number": 2}, last="x")
    rows.upsert("sums", {"kind": "a", "number": 1}, first=1)
    (written,) = rows.writes()
    assert written.arrays[:2] == ['{"a","a","b"}', "{1,2,1}"]


def test_text_is_compared_by_code_points() -> None:
    """Whatever the database's collation, which another database may not have."""
    rows = new_rows()
    rows.upsert("sums", {"kind": "a", "number": 2}, last="x")
    (written,) = rows.writes()
    assert 'greatest(t."last" COLLATE "C", excluded."last" COLLATE "C")' in written.sql


def test_text_is_compared_as_it_is_kept() -> None:
    """Without zero bytes, or it would matter which of two that are merged here stood in another transaction."""
    rows = new_rows()
    for text in ("a\0", "ab"):
        rows.upsert("sums", {"kind": "a", "number": 2}, last=text)
    (written,) = rows.writes()
    assert written.arrays[-1] == '{"a\ufffd"}'


def test_a_shared_row_is_named_by_its_whole_key() -> None:
    """As in any table; and nothing is appended."""
    with pytest.raises(ProjectionFailed, match=r"has the key \(kind, number\), not \(kind\)"):
        new_rows().increment("sums", {"kind": "a"}, total=1)
    with pytest.raises(ProjectionFailed, match="append would depend"):
        new_rows().append("sums", kind="a", number=1)


BY_DAY = StoredTable(
    "public",
    1,
    Table(
        "by_day",
        key=("day",),
        shared=True,
        by_time=ByTime("day", DAY, keep_days=400),
        columns=(Column("day", TIMESTAMP), Column("total", BIGINT, merge=SUM)),
    ),
)


async def of_days_long_ago(dsn: str) -> None:
    """Rows of two hundred days, of which no piece was made ahead."""
    days_us = [time.time_ns() // 1_000 - number * 86_400_000_000 for number in (0, 100, 200)]
    async with connected(dsn) as connection:
        for statement in create_statements(BY_DAY):
            await connection.execute(statement)
        for _ in range(2):
            rows = RowChanges({"by_day": Statement(BY_DAY)}, "topic-0")
            for day_us in days_us:
                rows.increment("by_day", {"day": day_us}, total=3)
            async with connection.transaction():
                for each in rows.writes():
                    await execute(connection, each)
        found = await connection.fetch(f"SELECT day, total FROM {BY_DAY.sql} ORDER BY day")
    assert [tuple(row) for row in found] == [(at(day_us), 6) for day_us in sorted(days_us)]


@pytest.mark.real
def test_rows_of_old_days_have_a_piece_to_stand_in(database: str) -> None:
    """As in a rebuild: what is kept by time may be shared."""
    asyncio.run(of_days_long_ago(database))
