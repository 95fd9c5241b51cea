"""Whose a row is: what keeps two partitions from writing the same one.

Partitions are read side by side, so nothing says which of two of them writes first: a row that both may write shows now
this, now that, and something else after a rebuild.  A row that belongs to one aggregate is written by one partition, in
the order of its journal; and what is parked of an aggregate holds up nothing that another one's events build on.
"""

from collections.abc import Container, Mapping
from dataclasses import replace

from bennu.domain.messages import input_type, key_field_of, name_of, rules_of
from bennu.domain.plain_sql import PlainSql, parsed
from bennu.domain.projection import (
    BIGINT,
    BOOLEAN,
    MAX,
    MIN,
    PARTITION,
    SUM,
    TEXT,
    TIMESTAMP,
    Column,
    Projection,
    Table,
)
from bennu.errors import BadSettings

COMPARED = (TEXT, BIGINT, TIMESTAMP, BOOLEAN)
"""Types of which there is a greatest and a least."""


def owned_tables(projection: Projection, events: Container[str]) -> tuple[Table, ...]:
    """The projection's tables, each with its owner if it is not shared.

    Raises `BadSettings`, naming projection, table and key, for one that nobody owns.
    """
    kind = type(projection)
    messages = [input_type(kind, name, rule, position=1) for name, rule in rules_of(kind, "projects")]
    keys = {key_field_of(message): name_of(message) for message in messages if name_of(message) in events}
    if not keys:
        return projection.tables  # no event writes them
    return tuple(
        replace(table, owner=_owner(table, keys, f"{kind.__qualname__}: table `{table.name}`"))
        for table in projection.tables
    )


def plain_statements(projection: Projection) -> dict[str, PlainSql]:
    """The projection's plain SQL, checked, by its text.  Raises `BadSettings`."""
    tables = {table.name: table for table in projection.tables}
    return {text: parsed(text, tables, type(projection).__qualname__) for text in projection.statements}


def is_partition(column: Column) -> bool:
    """Whether it holds the partition that wrote the row."""
    return column.name == PARTITION and column.type == BIGINT


def _owner(table: Table, keys: Mapping[str, str], where: str) -> str:
    columns = {column.name: column for column in table.columns}
    if table.shared:
        _check_shared(table, where)
        return ""
    for column in table.columns:
        if column.merge:
            raise BadSettings(
                f"{where}, column `{column.name}`: merge={column.merge!r} is for a table with shared=True"
            )
    if table.owner:
        _check_owner(table, columns, where)
        return table.owner
    in_key = [columns[name] for name in table.key if name in columns]
    if any(is_partition(column) for column in in_key):
        return PARTITION
    named = [column.name for column in in_key if column.name in keys and column.type == TEXT]
    if len(named) == 1:
        return named[0]
    raise BadSettings(f"{where}: {_nobodys(table.key, named, keys)}")


def _nobodys(key: tuple[str, ...], named: list[str], keys: Mapping[str, str]) -> str:
    if named:
        told = " or ".join(f'owner="{name}"' for name in named)
        return f"its key ({', '.join(key)}) has the keys of several events; say whose events write a row: {told}"
    about = ", ".join(f"`{field}` of {event}" for field, event in keys.items()) or "nothing"
    return (
        f"its key ({', '.join(key)}) tells neither which aggregate a row belongs to (events are about {about}) nor "
        "which partition, so two partitions may write the same row, and nothing says which of them is the later one. "
        "Say owner=COLUMN if a column of the key has that aggregate's id under another name; or put a BIGINT column "
        "`partition` into the key, with meta.partition; or say shared=True, and how each column is merged: SUM, MAX, "
        "MIN"
    )


def _check_owner(table: Table, columns: Mapping[str, Column], where: str) -> None:
    owner = columns.get(table.owner)
    if owner is None or table.owner not in table.key or not (owner.type == TEXT or is_partition(owner)):
        raise BadSettings(
            f"{where}: owner={table.owner!r} must be a TEXT column of its key ({', '.join(table.key)}) that holds an "
            f"aggregate's id, or the BIGINT column `{PARTITION}`"
        )


def _check_shared(table: Table, where: str) -> None:
    if table.owner:
        raise BadSettings(f"{where}: it is shared, so it has no owner={table.owner!r}")
    for column in table.columns:
        told = f"{where}, column `{column.name}`"
        if column.name in table.key or column.formula:
            if column.merge:
                raise BadSettings(
                    f"{told}: merge={column.merge!r} is for a column that is neither computed nor of the key"
                )
        elif column.merge == SUM:
            if column.type != BIGINT or column.nullable:
                raise BadSettings(f"{told}: a SUM is a BIGINT that is not nullable")
        elif column.merge in (MAX, MIN):
            if column.type not in COMPARED or not column.nullable:
                raise BadSettings(
                    f"{told}: a {column.merge.upper()} is nullable, NULL before anything was said, and no JSONB"
                )
        else:
            raise BadSettings(
                f"{told}: the table is shared, so say how what partitions write is merged: SUM, MAX or MIN"
            )
