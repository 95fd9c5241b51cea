"""The bank's tables in a drill: what a reader sees of them, and every row against the journals."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import fields
from operator import attrgetter
from typing import Any

from bank import checks
from bank.app import app
from bank.drill_load import BankLoad
from bank.projections import Ledger
from bennu.drill.limits import SHOWN
from bennu.drill.workload import Compared, Connection, Entry, Look
from bennu.log.port import Log
from bennu.replica.history import judged
from bennu.replica.journal import Position, Verdict
from bennu.v1.journal_pb2 import EventBatch

LOCKED = "LOCK TABLE bank.accounts, bank.entries, bank.transfers IN ACCESS SHARE MODE"
"""Before the snapshot is taken: it would show a generation that is switched to meanwhile as it was, not level."""
GENERATIONS = """
ARRAY(
    SELECT DISTINCT substring(pg_get_viewdef(view) FROM '_g([0-9]+)')
    FROM unnest(ARRAY['bank.accounts', 'bank.entries', 'bank.transfers']::regclass[]) AS view
)
"""
LOOK = f"""
SELECT
    (SELECT count(*) FROM bank.accounts) + (SELECT count(*) FROM bank.entries) + (SELECT count(*) FROM bank.transfers),
    {GENERATIONS},
    (
        SELECT count(*) FROM (SELECT FROM bank.entries GROUP BY currency HAVING sum(amount_minor) <> 0) AS unbalanced
    ),
    (
        SELECT count(*) FROM bank.accounts AS a FULL JOIN (
            SELECT account, sum(amount_minor) AS total_minor FROM bank.entries WHERE line = 0 GROUP BY account
        ) AS e USING (account)
        WHERE coalesce(a.balance_minor, 0) <> coalesce(e.total_minor, 0)
    )
"""  # noqa: S608 - made of constants
NEWER = """
SELECT e.partition, e.seq, e.recorded_at FROM unnest($1::bigint[], $2::bigint[]) AS seen (partition, seq)
CROSS JOIN LATERAL (
    SELECT partition, seq, recorded_at FROM bank.entries AS e
    WHERE e.partition = seen.partition AND e.seq > seen.seq AND e.line = 0 ORDER BY e.partition, e.seq LIMIT 1000
) AS e
"""
"""With a limit, so that the key's index is read in order: without one Postgres may read the whole table each time."""
POSITIONS = f"""
SELECT partition, batch_no, next_seq FROM bennu.positions NATURAL JOIN bennu.generations
WHERE app = '{app.name}' AND projection = '{Ledger.name}' AND state = 'live'
"""  # noqa: S608 - our own names
ROWS: Mapping[str, tuple[type, Callable[[Any], object]]] = {
    "accounts": (checks.AccountRow, attrgetter("account")),
    "entries": (checks.EntryRow, attrgetter("partition", "seq", "line")),
    "transfers": (checks.TransferRow, attrgetter("transfer")),
}
"""What a row of each view is, and its key."""
AT_ONCE = 5_000
"""Rows that are fetched at a time."""


class BankTables(BankLoad):
    """See `bennu.drill.workload.TableWorkload`."""

    projection = Ledger.name

    def __init__(self, partitions: int, *, seed: int, name: str) -> None:
        super().__init__(partitions, seed=seed, name=name)
        self._journals = [_Journal(number) for number in range(partitions)]
        self._expected = checks.Tables()

    async def look(self, connection: Connection) -> Look:
        [(rows, generations, unbalanced, differing)] = await connection.fetch(LOOK)
        return Look(rows, frozenset(map(str, generations)), unbalanced, differing)

    async def generations(self, connection: Connection) -> frozenset[str]:
        return frozenset(map(str, await connection.fetchval(f"SELECT {GENERATIONS}")))

    async def newer(self, connection: Connection, seen: Mapping[int, int]) -> Sequence[Entry]:
        return [Entry(*row) for row in await connection.fetch(NEWER, list(seen), list(seen.values()))]

    async def shown(self, connection: Connection) -> Mapping[int, int]:
        return {row["partition"]: row["next_seq"] - 1 for row in await connection.fetch(POSITIONS)}

    async def journaled(self, log: Log) -> int:
        for journal in self._journals:
            await journal.read(log)
        return sum(journal.position.next_seq - 1 for journal in self._journals)

    async def compare(self, connection: Connection, log: Log) -> Compared:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute(LOCKED)
            shown = {row["partition"]: row for row in await connection.fetch(POSITIONS)}
            await self.journaled(log)
            found = Differences()
            for journal in self._journals:
                found.tell(journal.apply(self._expected, shown[journal.partition]["batch_no"]))
            for table in fields(checks.Tables):
                await found.look(connection, table.name, getattr(self._expected, table.name))
        return Compared(sum(row["next_seq"] - 1 for row in shown.values()), found.rows, found.number, found.told)


class _Journal:
    """Of a partition: read once, and applied batch by batch."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.position = Position(f"{app.name}-events-{partition}")
        self._ahead: deque[EventBatch] = deque()
        self._batch_no = 0

    async def read(self, log: Log) -> None:
        """To its tail."""
        async with aclosing(judged(log, self.position.topic, self.position)) as found:
            async for one in found:
                self.position = one.position
                if one.verdict is Verdict.BATCH and isinstance(one.record, EventBatch):
                    self._ahead.append(one.record)

    def apply(self, tables: checks.Tables, batch_no: int) -> str:
        """All batches up to this one; what is wrong, or nothing."""
        if batch_no < self._batch_no:
            return f"{self.position.topic}: tables went back from batch {self._batch_no} to batch {batch_no}"
        while self._ahead and self._ahead[0].batch_no <= batch_no:
            checks.extend(tables, self._ahead.popleft(), self.partition)
        self._batch_no = batch_no
        return ""


class Differences:
    """Between what views show and what they must; a row at a time, for there may be millions."""

    def __init__(self) -> None:
        self.rows = 0
        self.number = 0
        self.told: list[str] = []

    async def look(self, connection: Connection, name: str, expected: Mapping[object, object]) -> None:
        """One view, in the transaction that the connection is in."""
        kind, key_of = ROWS[name]
        there = 0
        async for record in connection.cursor(checks.select(name, kind), prefetch=AT_ONCE):
            self.rows += 1
            row = kind(*record)
            wanted = expected.get(key := key_of(row))
            there += wanted is not None
            if row != wanted:
                self.tell(f"{name}: {key} is {row}; it must be {wanted or 'absent'}")
        for _ in range(len(expected) - there):
            self.tell(f"{name}: {len(expected) - there} rows are missing")

    def tell(self, sentence: str) -> None:
        """Count it, if it says something."""
        self.number += bool(sentence)
        if sentence and len(self.told) < SHOWN:
            self.told.append(sentence)
