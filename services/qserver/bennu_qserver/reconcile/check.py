"""Compares one part of a generation's rows with the journals.

    one snapshot of Postgres: position, dead letters, rows → the journals up to there → every difference

The snapshot is taken first and let go at once, so that no transaction stays open while the journals are read, and
whatever is projected, switched or dropped meanwhile changes nothing in what is compared.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

from bennu.log.port import Log
from bennu.snapshots.pace import Turn
from bennu_qserver.database import Connection
from bennu_qserver.reconcile.differences import Difference, differences
from bennu_qserver.reconcile.expected import ExpectedRows
from bennu_qserver.reconcile.found import Found, Wanted, look
from bennu_qserver.reconcile.replay import Replay

Run = Callable[[Callable[[Connection], Awaitable[Found]]], Awaitable[Found]]
"""In a transaction of its own."""


class Compared(NamedTuple):
    """A part, and what is wrong with it."""

    found: Found
    events: int
    expected: int
    """Rows."""
    not_compared: Sequence[str]
    """Tables of which a fold can't say what they must hold, in words."""
    differences: Iterator[Difference | None]
    """None: a good moment to let others have a turn."""


async def compare(run: Run, log: Log, wanted: Wanted, *, turn: Turn) -> Compared:
    """Compare.

    Raises `CannotCompare`, `TooMany` where more rows are met than wanted, and the errors of log and journal.
    """
    found = await run(lambda connection: look(connection, wanted))
    rows = ExpectedRows(
        found.compiled.tables,
        wanted.part,
        most=wanted.most,
        since_us=found.since_us,
        statements=found.compiled.changed_by_sql,
    )
    replay = Replay(log, found, rows, turn=turn)
    await replay.run()
    expected = sum(len(table.rows) for table in rows.tables.values())
    not_compared = [f"table {name}: {why}" for name, why in rows.not_compared.items()]
    return Compared(found, replay.events, expected, not_compared, _all(replay, rows, found))


def _all(replay: Replay, rows: ExpectedRows, found: Found) -> Iterator[Difference | None]:
    yield from replay.differences
    yield from differences(rows, found)
