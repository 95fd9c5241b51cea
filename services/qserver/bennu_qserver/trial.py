"""Events that can't be written as a whole: tried again in halves, until those at fault stand alone and are parked.

Later events of the same aggregate are parked behind them, since a rule may build on what an earlier event wrote; all
others are written.  What is judged is each event for itself, so where transactions begin and end decides nothing; only
what Postgres alone can judge (a sum that grows too large, JSON, a computed column) is seen as the half leaves it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bennu_qserver.database import Connection, savepoint
from bennu_qserver.errors import EventFault
from bennu_qserver.events import AggregateKey, Event, project
from bennu_qserver.executing import execute
from bennu_qserver.rows import RowChanges, Write


class Letter(NamedTuple):
    """An event to be parked."""

    event: Event
    key: AggregateKey
    problem: str | None
    """None: it waits for an earlier event of its key."""


Keyed = tuple[Event, AggregateKey]


class Trial:
    """Of the events of one transaction, inside it."""

    def __init__(
        self, connection: Connection, new_rows: Callable[[], RowChanges], parked: Iterable[AggregateKey]
    ) -> None:
        """`parked`: keys of which nothing is written."""
        self._connection = connection
        self._new_rows = new_rows
        self._parked = set(parked)
        self.writes: list[Write] = []
        self.letters: list[Letter] = []

    async def take(self, events: Sequence[Keyed]) -> None:
        """Write the events, which come in order, or put them among `letters`."""
        ranges = [events]
        while ranges:
            rest = self._flowing(ranges.pop())
            fault = await self._tried([event for event, _ in rest])
            if fault is None:
                continue
            if len(rest) == 1:
                self._park(*rest[0], problem=str(fault))
                continue
            half = len(rest) // 2
            ranges += (rest[half:], rest[:half])  # the earlier half comes first: it may park what the later one holds

    def _flowing(self, events: Sequence[Keyed]) -> Sequence[Keyed]:
        """Those of keys that are not parked; the others are put aside."""
        flowing = []
        for event, key in events:
            if key in self._parked:
                self._park(event, key)
            else:
                flowing.append((event, key))
        return flowing

    def _park(self, event: Event, key: AggregateKey, *, problem: str | None = None) -> None:
        self._parked.add(key)
        self.letters.append(Letter(event, key, problem))

    async def _tried(self, events: Sequence[Event]) -> EventFault | None:
        await asyncio.sleep(0)  # rules and checks take their time, and other loops are there
        rows = self._new_rows()
        try:
            for event in events:
                project(event, rows)
            writes = list(rows.writes())
            if writes:
                async with savepoint(self._connection):
                    for write in writes:
                        await execute(self._connection, write)
        except EventFault as fault:
            return fault
        self.writes += writes
        return None
