"""Events that can't be projected, for tests: a projection that they poison, and what must become of them, as a fold."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import asyncpg

from bank.v1.events_pb2 import AccountFrozen, Deposited
from bennu.domain import BIGINT, JSONB, MAX, MIN, SUM, TEXT, Column, EventMeta, Projection, Rows, Table, projects
from bennu.domain.projection import Value
from tests.qserver.loops import bank_with

POISONS = ("null", "range", "json", "twice", "raise", "half", "others", "where", "steal", "divide")
MENDED = frozenset({"null", "raise", "half", "twice", "others", "steal", "divide"})
"""What the mended rules can do."""
WRONG: dict[str, dict[str, Value]] = {"null": {"note": None}, "range": {"total": 2**63}, "json": {"said": "{"}}
"""What a cell can't hold."""

CELLS = Table(
    "cells",
    key=("account",),
    columns=(
        Column("account", TEXT),
        Column("total", BIGINT),
        Column("note", TEXT),
        Column("said", JSONB, nullable=True),
        Column("fresh", BIGINT, comment="lines that are new, counted now and then"),
    ),
)
PURSES = Table("purses", key=("account",), columns=CELLS.columns[:4], comment="cells as no plain SQL changes them")
LINES = Table(
    "lines",
    key=("account", "seq"),
    columns=(Column("account", TEXT), Column("seq", BIGINT), Column("state", TEXT)),
)
TOTALS = Table(
    "totals",
    key=("kind",),
    shared=True,
    columns=(
        Column("kind", TEXT),
        Column("total", BIGINT, merge=SUM),
        Column("last", TEXT, nullable=True, merge=MAX),
        Column("least", BIGINT, nullable=True, merge=MIN),
    ),
)
COUNT = """
UPDATE {cells} SET fresh = (SELECT count(*) FROM {lines} WHERE lines.account = $1 AND lines.state = 'new')
WHERE account = $1
"""
STEAL = "INSERT INTO {cells} (account) VALUES ($1)"
DIVIDE = "UPDATE {cells} SET total = cells.total / $2 WHERE account = $1"
STEPS = Table(
    "steps",
    key=("partition", "seq"),
    columns=(Column("partition", BIGINT), Column("seq", BIGINT), Column("account", TEXT)),
)


class Cells(Projection):
    """Shows deposits, whose transfer says what is wrong with them; nothing about freezing is of interest."""

    name = "cells"
    tables = (CELLS, PURSES, STEPS, LINES, TOTALS)
    statements = (COUNT, STEAL, DIVIDE)
    mended: frozenset[str] = frozenset()

    @projects
    def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
        """Each poison changes rows before it shows, which must not stay."""
        cell, poison = {"account": event.account}, "" if event.transfer in self.mended else event.transfer
        rows.append("steps", partition=meta.partition, seq=meta.seq, account=event.account)
        show_line(event, rows, meta)
        show_total(event, rows)
        for table in ("cells", "purses"):
            rows.increment(table, cell, total=event.amount_minor)
            rows.upsert(table, cell, note=f"{meta.seq} by {meta.actor} for {meta.command_id} at {meta.recorded_at_us}")
        if event.amount_minor % 4 == 0:
            rows.sql(COUNT, event.account)
        self._poisoned(event, rows, meta, poison=poison)

    def _poisoned(self, event: Deposited, rows: Rows, meta: EventMeta, *, poison: str) -> None:
        cell, other = {"account": event.account}, f"only {meta.partition} {meta.seq}"
        match poison:
            case "null" | "range" | "json":
                rows.upsert("cells", cell, **WRONG[poison])
            case "twice":
                rows.append("steps", partition=meta.partition, seq=meta.seq, account="again")
            case "raise":
                raise LookupError("no \0 idea \ud800")
            case "half":
                rows.update("steps", {"partition": meta.partition, "seq": meta.seq}, nothing=1)
            case "others":
                rows.increment("cells", {"account": other}, total=1)
            case "where":
                rows.delete_where("lines", {"account": other})
            case "steal":
                rows.sql(STEAL, other)
            case "divide":
                rows.sql(DIVIDE, event.account, 0)


def show_line(event: Deposited, rows: Rows, meta: EventMeta) -> None:
    """A line more; sometimes those before it change, or go."""
    rows.append("lines", account=event.account, seq=meta.seq, state="new")
    if event.amount_minor % 3 == 0:
        rows.update_where("lines", {"account": event.account, "state": "new"}, state="old")
    if event.amount_minor % 5 == 0:
        rows.delete_where("lines", {"account": event.account, "state": "old"})


def show_total(event: Deposited, rows: Rows) -> None:
    """Rows that every partition writes."""
    kind = {"kind": str(event.amount_minor % 2)}
    rows.upsert("totals", kind, last=event.account, least=event.amount_minor - 500)
    rows.increment("totals", kind, total=event.amount_minor)


class MendedCells(Cells):
    """The same tables, by rules of which some are mended."""

    mended = MENDED


APP, MENDED_APP = bank_with(Cells), bank_with(MendedCells)


class Parked(NamedTuple):
    """A dead letter, as far as it is compared."""

    key: str
    state: str
    at_fault: bool
    event: bytes


class Said(NamedTuple):
    """An event of the history."""

    event: Deposited
    note: str


@dataclass
class Spec:
    """One partition's tables and dead letters, event by event."""

    partition: int
    mended: frozenset[str] = frozenset()
    cells: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    steps: dict[int, str] = field(default_factory=dict)
    lines: dict[tuple[str, int], str] = field(default_factory=dict)
    applied: list[Deposited] = field(default_factory=list)
    letters: dict[int, Parked] = field(default_factory=dict)
    history: dict[int, Said] = field(default_factory=dict)

    def parked(self, key: str) -> list[int]:
        """Numbers of its events that are parked, in order."""
        return [seq for seq, letter in sorted(self.letters.items()) if (letter.key, letter.state) == (key, "parked")]

    def parked_keys(self) -> list[str]:
        """In an order that a seed repeats."""
        return sorted({letter.key for letter in self.letters.values() if letter.state == "parked"})

    def take(self, seq: int, said: Said) -> None:
        """The next event."""
        self.history[seq] = said
        event = said.event
        if self.parked(event.account):
            self.letters[seq] = Parked(event.account, "parked", at_fault=False, event=event.SerializeToString())
        elif self._at_fault(seq):
            self.letters[seq] = Parked(event.account, "parked", at_fault=True, event=event.SerializeToString())
        else:
            self._apply(seq)

    def retry(self, key: str) -> None:
        """Its parked events, in order, up to one that is still at fault."""
        for seq in self.parked(key):
            if self._at_fault(seq):
                self.letters[seq] = self.letters[seq]._replace(at_fault=True)
                return
            self.letters[seq] = self.letters[seq]._replace(state="applied")
            self._apply(seq)

    def discard(self, key: str) -> None:
        """The event at fault, if there is one."""
        first = self.parked(key)[0]
        if self.letters[first].at_fault:
            self.letters[first] = self.letters[first]._replace(state="discarded")

    def _at_fault(self, seq: int) -> bool:
        return self.history[seq].event.transfer not in ("", *self.mended)

    def _apply(self, seq: int) -> None:
        event, note = self.history[seq]
        self.applied.append(event)
        self._apply_line(seq, event)
        total, _, fresh = self.cells.get(event.account, (0, "", 0))
        if event.amount_minor % 4 == 0:
            fresh = sum(state == "new" for (account, _), state in self.lines.items() if account == event.account)
        self.cells[event.account] = (total + event.amount_minor, note, fresh)
        self.steps[seq] = event.account

    def _apply_line(self, seq: int, event: Deposited) -> None:
        self.lines[event.account, seq] = "new"
        for key in [key for key in self.lines if key[0] == event.account]:
            if event.amount_minor % 3 == 0:
                self.lines[key] = "old"
            if event.amount_minor % 5 == 0 and self.lines[key] == "old":
                del self.lines[key]


def random_event(random: Random, partition: int, *, poison: float) -> Deposited | AccountFrozen:
    """Of one of a few accounts."""
    account = f"a{partition}-{random.randrange(6)}"
    if random.random() < 0.2:
        return AccountFrozen(account=account)
    wrong = random.choice(POISONS) if random.random() < poison else ""
    return Deposited(account=account, amount_minor=random.randrange(1000), transfer=wrong)


def deposited(account: str, poison: str = "") -> Deposited:
    """One that may be at fault."""
    return Deposited(account=account, amount_minor=1, transfer=poison)


Found = dict[str, dict[Any, Any]]


def expected(specs: Sequence[Spec]) -> Found:
    """What Postgres must hold."""
    return {
        "cells": {key: cell for spec in specs for key, cell in spec.cells.items()},
        "purses": {key: cell[:2] for spec in specs for key, cell in spec.cells.items()},
        "steps": {(spec.partition, seq): key for spec in specs for seq, key in spec.steps.items()},
        "lines": {key: state for spec in specs for key, state in spec.lines.items()},
        "totals": totals([event for spec in specs for event in spec.applied]),
        "letters": {(spec.partition, seq): letter for spec in specs for seq, letter in spec.letters.items()},
    }


def totals(events: Sequence[Deposited]) -> dict[str, tuple[int, str, int]]:
    """What is merged of all partitions."""
    kinds: dict[str, list[Deposited]] = {}
    for event in events:
        kinds.setdefault(str(event.amount_minor % 2), []).append(event)
    return {
        kind: (
            sum(event.amount_minor for event in of_kind),
            max(event.account for event in of_kind),
            min(event.amount_minor for event in of_kind) - 500,
        )
        for kind, of_kind in kinds.items()
    }


async def found(connection: "asyncpg.Connection[asyncpg.Record]") -> Found:
    """What it holds."""
    letters = await connection.fetch("SELECT * FROM bennu.dead_letters WHERE aggregate = 'AccountRules'")
    return {
        "cells": {
            row["account"]: (row["total"], row["note"], row["fresh"])
            for row in await connection.fetch("SELECT * FROM bank.cells")
        },
        "purses": {
            row["account"]: (row["total"], row["note"]) for row in await connection.fetch("SELECT * FROM bank.purses")
        },
        "steps": {
            (row["partition"], row["seq"]): row["account"] for row in await connection.fetch("SELECT * FROM bank.steps")
        },
        "lines": {
            (row["account"], row["seq"]): row["state"] for row in await connection.fetch("SELECT * FROM bank.lines")
        },
        "totals": {
            row["kind"]: (row["total"], row["last"], row["least"])
            for row in await connection.fetch("SELECT * FROM bank.totals")
        },
        "letters": {
            (row["partition"], row["seq"]): Parked(
                row["key"], row["state"], at_fault=row["problem"] is not None, event=row["event"]
            )
            for row in letters
        },
    }


WISH = """
UPDATE bennu.dead_letters SET wish = $3, wished_by = 'operator', wished_reason = 'because'
WHERE partition = $1 AND seq = $2 AND state = 'parked'
"""


async def wish(connection: "asyncpg.Connection[asyncpg.Record]", spec: Spec, *, key: str, what: str) -> None:
    """An operator's, about a key: its first event stands for it."""
    assert await connection.execute(WISH, spec.partition, spec.parked(key)[0], what) == "UPDATE 1"
