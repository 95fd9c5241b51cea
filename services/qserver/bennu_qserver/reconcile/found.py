"""What Postgres holds of a generation at one moment: positions, dead letters, rows.  One transaction sees all of it."""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from bennu.domain import JSONB, TIMESTAMP, Column
from bennu.domain.projection import Value
from bennu.errors import BennuError
from bennu.ops.generations import LIVE
from bennu.replica.journal import Position
from bennu_qserver import dead_letters, generations, positions, schema
from bennu_qserver.database import Connection
from bennu_qserver.dead_letters import Stood
from bennu_qserver.dispatch import CompiledProjection, DeclaredProjection
from bennu_qserver.generations import Key
from bennu_qserver.reconcile.expected import TooMany
from bennu_qserver.reconcile.expected_table import Key as RowKey
from bennu_qserver.reconcile.expected_table import hashed
from bennu_qserver.reconcile.part import MICROSECONDS, Part
from bennu_qserver.statements import kept_since
from bennu_qserver.tables import StoredTable, quoted

PREFETCH = 200
READ_TIMEOUT_S = 1800
LOCK_TIMEOUT_S = 10
"""Whoever locks a table, as VACUUM FULL does, is not waited for."""
_SNAPSHOT = f"""
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s';
SET LOCAL statement_timeout = '{READ_TIMEOUT_S}s';
SET LOCAL idle_in_transaction_session_timeout = '{READ_TIMEOUT_S}s'
"""


class CannotCompare(BennuError):
    """Nothing can be said of these tables, and why."""


class FoundRow(NamedTuple):
    """A row as Postgres has it."""

    key: tuple[Value, ...]
    values: tuple[Value, ...]
    """Of the columns that rules set, in their order."""
    wrong: tuple[str, ...]
    """Computed columns that are not what they are computed from."""


class Found(NamedTuple):
    """A generation, as far as one part of its rows goes."""

    compiled: CompiledProjection
    positions: dict[int, Position]
    letters: dict[int, list[Stood]]
    rows: dict[str, dict[RowKey, FoundRow]]
    """By table; one that is not as declared, or is changed by plain SQL, is not here."""
    since_us: dict[str, int]
    """Of tables that keep their rows for some time: no older ones are compared, since any of them may be there."""
    tables_differ: dict[str, str]
    """Those, each with what is wrong."""

    @property
    def size(self) -> int:
        """How many rows."""
        return sum(map(len, self.rows.values()))


class Wanted(NamedTuple):
    """What to look at."""

    declared: DeclaredProjection
    generation: int | None
    """None: the live one."""
    partitions: int
    part: Part = Part()
    most: int = 1_000_000
    """Rows."""


async def look(connection: Connection, wanted: Wanted) -> Found:
    """All of it.  Raises `CannotCompare`, and `TooMany` for more rows than wanted."""
    compiled = await _begin(connection, wanted)
    place = (compiled.app, compiled.name, compiled.generation)
    numbers = range(wanted.partitions)
    stands = await positions.all_of(connection, Key(*place))
    for number, (_, count) in stands.items():
        if count != wanted.partitions or number not in numbers:
            raise CannotCompare(
                f"{compiled.name}: its tables hold partition {number} of {count}, but there are {wanted.partitions}"
            )
    where = {number: stands[number][0] if number in stands else Position(compiled.topic(number)) for number in numbers}
    letters = {number: await dead_letters.stand(connection, positions.Place(*place, number)) for number in numbers}
    rows, since, differ, room = dict[str, dict[RowKey, FoundRow]](), dict[str, int](), dict[str, str](), wanted.most
    by_sql = set(compiled.changed_by_sql.values())
    for table in compiled.tables:
        name = table.declared.name
        if told := await schema.differences_of(connection, table):
            differ[name] = "; ".join(told)
        elif name not in by_sql:
            if (since_us := await _since_us(connection, table)) is not None:
                since[name] = since_us
            rows[name] = await _rows(connection, table, _condition(table, wanted.part, since_us), most=room)
            room -= len(rows[name])
    return Found(compiled, where, letters, rows, since, differ)


async def count(connection: Connection, wanted: Wanted) -> int:
    """How many rows there are now.  Raises `CannotCompare`."""
    compiled = await _begin(connection, wanted)
    total, by_sql = 0, set(compiled.changed_by_sql.values())
    for table in compiled.tables:
        if table.declared.name not in by_sql and not await schema.differences_of(connection, table):
            condition = _condition(table, Part(), await _since_us(connection, table))
            sql = f"SELECT count(*) FROM {table.sql} WHERE {condition}"  # noqa: S608 - checked names
            total += await connection.fetchval(sql, timeout=READ_TIMEOUT_S)
    return total


async def _begin(connection: Connection, wanted: Wanted) -> CompiledProjection:
    """Take the snapshot.  Which generation it is about."""
    await connection.execute(_SNAPSHOT)
    declared = wanted.declared
    for generation in await generations.kept(connection, declared.app):
        _, name, number = generation.key
        meant = generation.state == LIVE if wanted.generation is None else number == wanted.generation
        if name == declared.name and meant:
            if generation.declaration != declared.declaration:
                raise CannotCompare(
                    f"{generation.key}: this build declares it otherwise than it was made; compare it by the build "
                    "that made it, or `bennu projections rebuild` it first"
                )
            return declared.in_generation(number)
    which = "live generation" if wanted.generation is None else f"generation {wanted.generation} with tables"
    raise CannotCompare(f"{declared.name}: it has no {which} in this database")


async def _since_us(connection: Connection, table: StoredTable) -> int | None:
    """From when on all rows are kept; None: always.  The lock keeps what is of that time from being dropped now."""
    by_time = table.declared.by_time
    if by_time is None or not by_time.keep_days:
        return None
    await connection.execute(f"LOCK TABLE ONLY {table.sql} IN ACCESS SHARE MODE")
    since_us: int = await connection.fetchval(f"SELECT {MICROSECONDS.format(kept_since(by_time, 'clock_timestamp()'))}")
    return since_us


def _condition(table: StoredTable, part: Part, since_us: int | None) -> str:
    condition = part.condition(table)
    if since_us is None or table.declared.by_time is None:
        return condition
    since = f"'epoch'::timestamptz + {since_us // 1_000_000} * interval '1 second'"  # days and months begin with one
    return f"{condition} AND {quoted(table.declared.by_time.column)} >= {since}"


async def _rows(connection: Connection, table: StoredTable, condition: str, *, most: int) -> dict[RowKey, FoundRow]:
    names = [name for name in table.columns if name not in table.key and name not in table.computed]
    columns = [_shown(table.columns[name]) for name in (*table.key, *names)]
    computed = [table.columns[name] for name in sorted(table.computed)]
    columns += [f"({quoted(c.name)} IS NOT DISTINCT FROM ({c.formula}))" for c in computed]
    sql = f"SELECT {', '.join(columns)} FROM {table.sql} WHERE {condition}"  # noqa: S608 - checked names
    keys, others = len(table.key), len(table.key) + len(names)
    rows: dict[RowKey, FoundRow] = {}
    async for record in connection.cursor(sql, prefetch=PREFETCH, timeout=READ_TIMEOUT_S):
        values = tuple(record)
        wrong = _wrong(computed, values[others:])
        key = values[:keys]
        rows[hashed(table, key)] = FoundRow(key, values[keys:others], wrong)
        if len(rows) > most:
            raise TooMany
    return rows


def _wrong(computed: Sequence[Column], agree: Sequence[object]) -> tuple[str, ...]:
    return tuple(column.name for column, same in zip(computed, agree, strict=True) if not same)


def _shown(column: Column) -> str:
    name = quoted(column.name)
    if column.type == TIMESTAMP:
        return MICROSECONDS.format(name)
    return f"{name}::text" if column.type == JSONB else name


GONE = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)
"""The generation was dropped while it was read, or somebody has changed it: look again."""
