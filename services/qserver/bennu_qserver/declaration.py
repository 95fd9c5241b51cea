"""The hash of a declaration: what is in it can't change without building the tables anew.

Comments are not: they are set again at each start.  Nor is whose a row is, which
changes none.  Nor is what a rule does: its author says by `Projection.version` that it shows the same events otherwise.
"""

import json
from collections.abc import Sequence
from hashlib import blake2b

from bennu.domain import Projection, Table


def declaration_of(projection: Projection, name: str, *, handled: Sequence[str]) -> str:
    """16 hexadecimal digits; `handled` are the types of events that change rows, in order."""
    plain: dict[str, object] = {
        "name": name,
        "version": projection.version,
        "tables": [_plain(table) for table in sorted(projection.tables, key=lambda table: table.name)],
        "handled": list(handled),
    }
    if projection.statements:
        plain["statements"] = sorted(projection.statements)
    return blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=8).hexdigest()


def _plain(table: Table) -> dict[str, object]:
    columns = [
        (
            *(column.name, column.type, column.nullable, column.formula),
            *([column.scale] if column.scale else []),
            *([f"merge {column.merge}"] if column.merge else []),
        )
        for column in table.columns
    ]
    plain: dict[str, object] = {"name": table.name, "columns": columns, "key": table.key, "indexes": table.indexes}
    # How long rows are kept is not in it: what has been dropped comes back by no rebuild.
    return plain | ({"by_time": (table.by_time.column, table.by_time.every)} if table.by_time else {})
