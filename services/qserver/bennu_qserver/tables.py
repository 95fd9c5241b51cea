"""Declared tables as they stand in Postgres: names, columns, comments, and whether what is there is what was declared.

A table's rows live in `schema.name_g1`, named by generation, and people read the view `schema.name` over it: so a
rebuild can fill the next generation beside the live one and then switch the view.
"""

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from bennu.domain import BIGINT, BOOLEAN, DAY, JSONB, MONTH, TEXT, TIMESTAMP, Column, Table
from bennu.domain.projection import ByTime
from bennu.errors import BadSettings

ZEROS: dict[str, str | int | bool] = {TEXT: "", BIGINT: 0, TIMESTAMP: 0, BOOLEAN: False, JSONB: "null"}
"""What a column begins at that the change that makes the row doesn't name; a nullable one begins at NULL."""

CATALOG_NAMES = {TIMESTAMP: "timestamp with time zone"}
_DEFAULTS = {TEXT: "''", BIGINT: "0", TIMESTAMP: "'epoch'", BOOLEAN: "false", JSONB: "'null'"}
MINOR = "_minor"
MAX_SCALE = 18
MAX_DAYS = 400
MAX_BY_TIME = 40
"""Characters: behind the name stand generation and day, and Postgres takes 63."""
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,49}")
_TAKEN_SCHEMAS = frozenset({"bennu", "public", "information_schema"})


def quoted(name: str) -> str:
    """A name that was checked, as SQL."""
    return f'"{name}"'


def literal(text: str) -> str:
    """A text as SQL, for statements that take no parameters."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f" E'{escaped}'"


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A declared table of one generation, in one schema."""

    schema: str
    generation: int
    declared: Table
    columns: dict[str, Column] = field(init=False)
    computed: frozenset[str] = field(init=False)
    """Those that Postgres computes, and no rule sets."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", {column.name: column for column in self.declared.columns})
        object.__setattr__(self, "computed", frozenset(c.name for c in self.declared.columns if c.formula))

    @property
    def name(self) -> str:
        return f"{self.declared.name}_g{self.generation}"

    @property
    def sql(self) -> str:
        """The table with the rows."""
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def view_sql(self) -> str:
        """What people read."""
        return f"{quoted(self.schema)}.{quoted(self.declared.name)}"

    @property
    def key(self) -> tuple[str, ...]:
        return self.declared.key

    def zero(self, name: str) -> str | int | bool | None:
        """What the column begins at."""
        column = self.columns[name]
        return None if column.nullable else ZEROS[column.type]


def scaled_name(column: Column) -> str:
    """What the view calls the numeric column beside this one."""
    return column.name.removesuffix(MINOR)


def check_schema(name: str) -> None:
    """Raise `BadSettings` unless an app of this name can have its schema."""
    if not _NAME.fullmatch(name) or name.startswith("pg_") or name in _TAKEN_SCHEMAS:
        raise BadSettings(f"app `{name}`: its tables need a schema of that name, which Postgres or Bennu can't give it")


def check_table(table: Table, where: str) -> None:
    """Raise `BadSettings`, naming `where`, for a declaration that can't become a table."""
    where = f"{where}: table `{table.name}`"
    columns = {column.name: column for column in table.columns}
    for name in (table.name, *columns):
        if not _NAME.fullmatch(name):
            raise BadSettings(f"{where}: `{name}` is no name; use up to 50 of a-z, 0-9 and _")
    if len(columns) != len(table.columns):
        raise BadSettings(f"{where}: two columns have the same name")
    for column in table.columns:
        if column.type not in ZEROS:
            raise BadSettings(f"{where}: column `{column.name}` has type {column.type}; known are {', '.join(ZEROS)}")
        _check_scale(column, columns, f"{where}: column `{column.name}`")
    for name in (*table.key, *(name for index in table.indexes for name in index)):
        if name not in columns:
            raise BadSettings(f"{where}: key or index names `{name}`, which is no column")
    if not table.key or any(columns[name].nullable or columns[name].formula for name in table.key):
        raise BadSettings(f"{where}: it needs a key, of columns that are neither nullable nor computed")
    if table.by_time is not None:
        _check_by_time(table, table.by_time, columns, where=where)


def _check_by_time(table: Table, by_time: ByTime, columns: Mapping[str, Column], *, where: str) -> None:
    if by_time.column not in table.key or columns[by_time.column].type != TIMESTAMP:
        raise BadSettings(f"{where}: it is kept by time of `{by_time.column}`, which is no {TIMESTAMP} of its key")
    if by_time.every not in (DAY, MONTH):
        raise BadSettings(f"{where}: it is kept by {by_time.every}; known are {DAY} and {MONTH}")
    if by_time.keep_days < 0:
        raise BadSettings(f"{where}: keep_days is {by_time.keep_days}; 0 keeps all")
    if by_time.every == DAY and not 0 < by_time.keep_days <= MAX_DAYS:
        raise BadSettings(
            f"{where}: it is kept by {DAY}, and for {by_time.keep_days} days (0: for ever); keep it by {MONTH}, or for "
            f"1 to {MAX_DAYS} days: who reads without naming a time takes locks of every {DAY}"
        )
    if len(table.name) > MAX_BY_TIME:
        raise BadSettings(f"{where}: a table that is kept by time has a name of up to {MAX_BY_TIME} characters")


def _check_scale(column: Column, names: Container[str], where: str) -> None:
    if not column.scale:
        return
    if column.type != BIGINT or not column.name.endswith(MINOR) or not 0 < column.scale <= MAX_SCALE:
        raise BadSettings(f"{where}: a scale, of 1 to {MAX_SCALE}, is for a {BIGINT} that is called NAME{MINOR}")
    if not scaled_name(column) or scaled_name(column) in names:
        raise BadSettings(f"{where}: its numeric column would be called `{scaled_name(column)}`, which can't be")


def create_statements(table: StoredTable) -> Iterator[str]:
    """What makes the table and its indexes."""
    columns = ", ".join(_column_sql(column) for column in table.declared.columns)
    key = ", ".join(map(quoted, table.key))
    by_time = table.declared.by_time
    pieces = f" PARTITION BY RANGE ({quoted(by_time.column)})" if by_time else ""
    yield f"CREATE TABLE {table.sql} ({columns}, PRIMARY KEY ({key})){pieces}"


def adorn_statements(table: StoredTable) -> Iterator[str]:
    """Indexes, view and comments: repeated at each start, so that a changed comment needs no rebuild."""
    for index in table.declared.indexes:
        name = quoted(f"{table.name}_{'_'.join(index)}"[:63])
        yield f"CREATE INDEX IF NOT EXISTS {name} ON {table.sql} ({', '.join(map(quoted, index))})"
    for column in table.declared.columns:
        yield column_comment(table.sql, column.name, column.comment)
    yield f"COMMENT ON TABLE {table.sql} IS {literal(table.declared.comment)}"


class Shown(NamedTuple):
    """A column of a view."""

    name: str
    type: str
    """As the catalog calls it."""
    comment: str
    sql: str


def shown_columns(table: StoredTable) -> Iterator[Shown]:
    """Those of the table, each numeric one behind that of its minor units: so a column may be added at the end."""
    for column in table.declared.columns:
        kind = CATALOG_NAMES.get(column.type, column.type)
        yield Shown(column.name, kind, column.comment, quoted(column.name))
        if column.scale:
            name, comment = scaled_name(column), f"{column.name} with {column.scale} digits behind the point"
            factor = f"{Decimal(1).scaleb(-column.scale):f}"  # a quotient would have twenty digits
            yield Shown(name, "numeric", comment, f"{quoted(column.name)} * {factor} AS {quoted(name)}")


def view_statements(table: StoredTable, options: Sequence[str] = ()) -> Iterator[str]:
    """The view of a generation, in place of that of another one, with the same comments.

    `options` are those of a view that is there, as Postgres keeps them: without them they would be lost.
    """
    columns = ", ".join(shown.sql for shown in shown_columns(table))
    kept = f" WITH ({', '.join(options)})" if options else ""
    yield f"CREATE OR REPLACE VIEW {table.view_sql}{kept} AS SELECT {columns} FROM {table.sql}"  # noqa: S608 - names were checked
    for shown in shown_columns(table):
        yield column_comment(table.view_sql, shown.name, shown.comment)
    yield view_comment(table)


def column_comment(relation: str, column: str, comment: str) -> str:
    """Of a table or a view, given as SQL."""
    return f"COMMENT ON COLUMN {relation}.{quoted(column)} IS {literal(comment)}"


def view_comment(table: StoredTable) -> str:
    """Of the view as a whole."""
    return f"COMMENT ON VIEW {table.view_sql} IS {literal(table.declared.comment)}"


def _column_sql(column: Column) -> str:
    needed = "" if column.nullable else " NOT NULL"
    made = f"GENERATED ALWAYS AS ({column.formula}) STORED" if column.formula else f"DEFAULT {_DEFAULTS[column.type]}"
    value = f" {made}" if column.formula or needed else ""
    return f"{quoted(column.name)} {column.type}{needed}{value}"


def differences(table: StoredTable, found: dict[str, tuple[str, bool]], *, key: tuple[str, ...]) -> list[str]:
    """How the table that is there differs from the declaration; `found` is (type, nullable) by column."""
    declared = {name: (CATALOG_NAMES.get(c.type, c.type), c.nullable) for name, c in table.columns.items()}
    told = [f"column {name} is not in the table" for name in declared if name not in found]
    told += [f"column {name} is not declared" for name in found if name not in declared]
    for name in declared.keys() & found.keys():
        if declared[name] != found[name]:
            told.append(f"column {name} is {_words(found[name])}, declared {_words(declared[name])}")
    if key != table.key:
        told.append(f"its key is ({', '.join(key)}), declared ({', '.join(table.key)})")
    return sorted(told)


def _words(column: tuple[str, bool]) -> str:
    kind, nullable = column
    return kind if nullable else f"{kind} not null"
