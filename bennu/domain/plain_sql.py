"""Plain SQL of a projection: what the changes of `Rows` can't say, in order with them.

    SHIP = "UPDATE {lines} SET open = ordered - shipped WHERE item = $1 AND ordered > shipped"

    class Orders(Projection):
        tables = (LINES,)
        statements = (SHIP,)
        ...
            rows.sql(SHIP, event.item)

Each statement is one INSERT, UPDATE or DELETE.  Tables stand in braces, because each generation has tables of its
own, and go by their own names in the statement; `{lines other}` gives one another name.  Values are bound, never put
into the text.  A rebuild computes tables anew, so a statement sees nothing but its values and rows: no clock, no
chance, no tables of others.  It changes rows of the event's aggregate (or partition) alone, which is checked when it
is carried out, and should read no others, which can't be checked: whether rows of other aggregates are there yet
depends on what is parked, and on how far other partitions are.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bennu.domain.projection import Projection, Table
from bennu.errors import BadSettings

_LITERAL = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")""")
_BEGINNING = re.compile(r"\s*(?:UPDATE|DELETE\s+FROM|INSERT\s+INTO)\s+(?=\{)", re.IGNORECASE)
BEGINNINGS = "UPDATE {table}, INSERT INTO {table} or DELETE FROM {table}"
_TABLE = re.compile(r"\{([^{}]*)\}")
_NAMED = re.compile(r"([a-z_][a-z0-9_]*)(?: +([a-z_][a-z0-9_]*))?")
_PARAMETER = re.compile(r"\$(\d+)")
_CHANGING = re.compile(
    r"\b(?:(?:now|random|random_normal|clock_timestamp|statement_timestamp|transaction_timestamp|timeofday|age"
    r"|gen_random_uuid|uuidv4|uuidv7|nextval|currval|lastval|setval|txid_current|pg_\w+|set_config|current_setting)\s*\("
    r"|(?:current_(?:date|time|timestamp|user|role|schema|catalog)|localtime|localtimestamp|session_user|user"
    r"|tablesample|ctid|xmin)\b)",
    re.IGNORECASE,
)
_REFUSED = (
    (re.compile(";"), "it is one statement"),
    (re.compile(r"--|/\*"), "comments stand beside the text"),
    (re.compile(r"\$(?!\d)"), "a text stands between single quotes, a value is $1, $2, …"),
    (re.compile("['\"]"), "it does not end"),
    (re.compile(r"\breturning\b", re.IGNORECASE), "nobody hears what it returns"),
    (_CHANGING, "it may be something else when tables are rebuilt; bind what the event and its `meta` say"),
)


@dataclass(frozen=True)
class PlainSql:
    """A statement that was checked."""

    text: str
    target: str
    """The declared table that it changes."""
    called: str
    """The name by which the statement knows it."""
    tables: frozenset[str]
    """All that it names."""
    values: int
    """How many it takes."""

    def sql(self, name: Callable[[str], str]) -> str:
        """For one generation; `name` says what a declared table is called there."""

        def put(found: re.Match[str]) -> str:
            table, called = _named(found[1])
            return f'{name(table)} AS "{called}"'

        return "".join(part if _is_literal(part) else _TABLE.sub(put, part) for part in _parts(self.text))


def parsed(text: str, tables: Mapping[str, Table], where: str) -> PlainSql:
    """The statement.  Raises `BadSettings`, naming `where`, for what it may not say."""
    where = f"{where}: statement `{shortened(text)}`"
    if "\\" in text:
        raise BadSettings(f"{where}: `\\`: a text with a backslash is bound as a value")
    bare = " ".join(part for part in _parts(text) if not _is_literal(part))
    for pattern, reason in _REFUSED:
        if found := pattern.search(bare):
            raise BadSettings(f"{where}: `{found[0]}`: {reason}")
    if _BEGINNING.match(text) is None:
        raise BadSettings(f"{where}: it must begin with {BEGINNINGS}")
    named = [_checked(found[1], tables, where) for found in _TABLE.finditer(bare)]
    numbers = {int(number) for number in _PARAMETER.findall(bare)}
    if numbers != set(range(1, len(numbers) + 1)):
        raise BadSettings(f"{where}: its values are {', '.join(f'${n}' for n in sorted(numbers))}; count from $1 on")
    target, called = named[0]
    return PlainSql(text, target, called, frozenset(table for table, _ in named), len(numbers))


def shortened(text: str) -> str:
    """A statement as messages name it."""
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:57]}..."


def written_by_sql(projection: Projection) -> frozenset[str]:
    """Tables whose rows can't be said without Postgres, since plain SQL changes them."""
    tables = {table.name: table for table in projection.tables}
    where = type(projection).__qualname__
    return frozenset(parsed(text, tables, where).target for text in projection.statements)


def _checked(inside: str, tables: Mapping[str, Table], where: str) -> tuple[str, str]:
    if _NAMED.fullmatch(inside) is None:
        raise BadSettings(f"{where}: `{{{inside}}}` is no table; write {{table}} or {{table other_name}}")
    table, called = _named(inside)
    if table not in tables:
        raise BadSettings(f"{where}: `{table}` is no table of this projection, which has {', '.join(tables)}")
    if tables[table].shared:
        raise BadSettings(
            f"{where}: `{table}` is shared: what is in it at that moment depends on how far other partitions are"
        )
    if tables[table].by_time is not None:
        raise BadSettings(
            f"{where}: `{table}` is kept by time, in pieces that are made and dropped; append, upsert or increment "
            "its rows"
        )
    return table, called


def _named(inside: str) -> tuple[str, str]:
    found = _NAMED.fullmatch(inside)
    assert found is not None, "checked"
    return found[1], found[2] or found[1]


def _is_literal(part: str) -> bool:
    return len(part) > 1 and part[0] in "'\"" and part[0] == part[-1]


def _parts(text: str) -> list[str]:
    """Literals and quoted names, and what stands between them."""
    return _LITERAL.split(text)
