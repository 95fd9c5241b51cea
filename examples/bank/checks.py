"""What the bank's tables must hold, recomputed from the journals without the projection or QServer, and compared.

    tables = recompute([batches_of_partition_0, batches_of_partition_1])
    assert not await table_differences(connection, tables)
    assert money(tables) == money_before and not any(entry_sums(tables).values())

Balances are summed here from the amounts, so a `balance_minor` that an event states wrongly is a difference too.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from google.protobuf.message import Message

from bank.v1 import events_pb2
from bank.v1.events_pb2 import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    Deposited,
    FeeCharged,
    FeeRefunded,
    PayeeBlocked,
    PayeeUnblocked,
    TransferCompleted,
    TransferFailed,
    TransferRequested,
    TransferScreened,
    WithdrawalReversed,
    Withdrawn,
)
from bennu.v1.journal_pb2 import EventBatch

SHOWN_DIFFERENCES = 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Movement = Deposited | Withdrawn | WithdrawalReversed | FeeCharged | FeeRefunded
KINDS: Mapping[type[Movement], tuple[str, int, str]] = {
    Deposited: ("deposit", 1, "transit"),
    Withdrawn: ("withdrawal", -1, "transit"),
    WithdrawalReversed: ("reversal", 1, "transit"),
    FeeCharged: ("fee", -1, "fees"),
    FeeRefunded: ("refund", 1, "fees"),
}
"""Of each movement: its kind, its sign, and the counter account of one that belongs to a transfer."""
HELD = ("transit", "fees")
"""Counter accounts whose money is still in the bank; cash is the world outside."""


@dataclass(slots=True)
class AccountRow:
    """A row of bank.accounts."""

    account: str
    owner: str
    currency: str
    balance_minor: int
    status: str
    limit_minor: int
    opened_at: datetime
    updated_at: datetime


@dataclass(slots=True)
class EntryRow:
    """A row of bank.entries."""

    partition: int
    seq: int
    line: int
    account: str
    currency: str
    amount_minor: int
    transfer: str | None
    kind: str
    command_id: str
    recorded_at: datetime


@dataclass(slots=True)
class TransferRow:
    """A row of bank.transfers."""

    transfer: str
    source: str
    target: str
    amount_minor: int
    fee_minor: int
    currency: str
    status: str
    reason: str | None
    requested_at: datetime
    ended_at: datetime | None


@dataclass
class Tables:
    """The three tables, by their keys."""

    accounts: dict[str, AccountRow] = field(default_factory=dict)
    entries: dict[tuple[int, int, int], EntryRow] = field(default_factory=dict)
    transfers: dict[str, TransferRow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Journaled:
    """An event and where it stands."""

    event: Message
    partition: int
    seq: int
    at: datetime
    command_id: str


def recompute(batches: Sequence[Sequence[EventBatch]]) -> Tables:
    """The tables after the effective batches of each partition's journal, the partition's number being the index."""
    tables = Tables()
    for partition, of_partition in enumerate(batches):
        for batch in of_partition:
            extend(tables, batch, partition)
    return tables


def extend(tables: Tables, batch: EventBatch, partition: int) -> None:
    """Bring tables after all earlier batches of this partition to after this one."""
    for journaled in _journaled(batch, partition):
        _apply(tables, journaled)


def _journaled(batch: EventBatch, partition: int) -> Iterator[Journaled]:
    at = EPOCH + timedelta(microseconds=batch.recorded_at_us)
    owners = [name for name, count in zip(batch.command_ids, batch.event_counts, strict=True) for _ in range(count)]
    for number, (index, raw, owner) in enumerate(zip(batch.event_type_indexes, batch.events, owners, strict=True)):
        kind = getattr(events_pb2, batch.event_types[index].removeprefix("bank.v1."))
        yield Journaled(kind.FromString(raw), partition, batch.first_seq + number, at, owner)


def _apply(tables: Tables, journaled: Journaled) -> None:
    match journaled.event:
        case AccountOpened() as event:
            at = journaled.at
            tables.accounts[event.account] = AccountRow(
                event.account, event.owner, event.currency, 0, "open", event.limit_minor, at, at
            )
        case Deposited() | Withdrawn() | WithdrawalReversed() | FeeCharged() | FeeRefunded() as event:
            _move(tables, event, journaled)
        case AccountFrozen() | AccountUnfrozen() | AccountClosed() as event:
            account = tables.accounts[event.account]
            account.status = {AccountFrozen: "frozen", AccountUnfrozen: "open", AccountClosed: "closed"}[type(event)]
            account.updated_at = journaled.at
        case PayeeBlocked() | PayeeUnblocked() | TransferScreened():
            pass  # no table shows it
        case _:
            _transfer(tables, journaled)


def _move(tables: Tables, event: Movement, journaled: Journaled) -> None:
    kind, sign, counter = KINDS[type(event)]
    counter = counter if event.transfer else "cash"
    account = tables.accounts[event.account]
    account.balance_minor += sign * event.amount_minor
    account.updated_at = journaled.at
    for line, (name, amount) in enumerate(((event.account, event.amount_minor), (counter, -event.amount_minor))):
        key = (journaled.partition, journaled.seq, line)
        tables.entries[key] = EntryRow(
            *key,
            account=name,
            currency=event.currency,
            amount_minor=sign * amount,
            transfer=event.transfer or None,
            kind=kind,
            command_id=journaled.command_id,
            recorded_at=journaled.at,
        )


def _transfer(tables: Tables, journaled: Journaled) -> None:
    match journaled.event:
        case TransferRequested() as event:
            tables.transfers[event.transfer] = TransferRow(
                transfer=event.transfer,
                source=event.source,
                target=event.target,
                amount_minor=event.amount_minor,
                fee_minor=event.fee_minor,
                currency=event.currency,
                status="requested",
                reason=None,
                requested_at=journaled.at,
                ended_at=None,
            )
        case TransferCompleted() as event:
            row = tables.transfers[event.transfer]
            row.status, row.ended_at = "completed", journaled.at
        case TransferFailed() as event:
            row = tables.transfers[event.transfer]
            row.status, row.reason, row.ended_at = "failed", event.reason, journaled.at
        case other:
            raise ValueError(
                f"{other.DESCRIPTOR.full_name} is an event of which the tables' recomputation knows nothing"
            )


def money(tables: Tables) -> dict[str, int]:
    """By currency, in minor units: what the accounts hold, what is in transit between them, and the fees."""
    found: Counter[str] = Counter()
    for account in tables.accounts.values():
        found[account.currency] += account.balance_minor
    for entry in tables.entries.values():
        if entry.line == 1 and entry.account in HELD:
            found[entry.currency] += entry.amount_minor
    return dict(found)


def fees(tables: Tables) -> dict[str, int]:
    """By currency, in minor units: what the bank has charged and not refunded."""
    found: Counter[str] = Counter()
    for entry in tables.entries.values():
        if entry.line == 1 and entry.account == "fees":
            found[entry.currency] += entry.amount_minor
    return dict(found)


def fees_due(tables: Tables) -> dict[str, int]:
    """By currency, in minor units: what the completed transfers cost.  Once all have ended, it is the `fees`."""
    found: Counter[str] = Counter()
    for transfer in tables.transfers.values():
        if transfer.status == "completed":
            found[transfer.currency] += transfer.fee_minor
    return dict(found)


def entry_sums(tables: Tables) -> dict[str, int]:
    """By currency, the sum of all entries: 0, or the ledger is wrong."""
    found: Counter[str] = Counter()
    for entry in tables.entries.values():
        found[entry.currency] += entry.amount_minor
    return dict(found)


def unended(tables: Tables) -> list[str]:
    """Transfers without an end, one sentence each."""
    return [f"transfers: {name} has not ended" for name, row in tables.transfers.items() if row.status == "requested"]


async def read_tables(connection: Connection) -> Tables:
    """What the views bank.accounts, bank.entries and bank.transfers show at one moment."""
    tables = Tables()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        for record in await connection.fetch(select("accounts", AccountRow)):
            tables.accounts[record["account"]] = AccountRow(**dict(record))
        for record in await connection.fetch(select("entries", EntryRow)):
            tables.entries[record["partition"], record["seq"], record["line"]] = EntryRow(**dict(record))
        for record in await connection.fetch(select("transfers", TransferRow)):
            tables.transfers[record["transfer"]] = TransferRow(**dict(record))
    return tables


def select(view: str, row: type) -> str:
    """The columns that tables have: a view has more."""
    return f"SELECT {', '.join(column.name for column in fields(row))} FROM bank.{view}"  # noqa: S608 - our own names


async def table_differences(connection: Connection, tables: Tables) -> list[str]:
    """How the views differ from `tables`: one sentence a row, the first twenty, and then how many more there are."""
    return differences(await read_tables(connection), tables)


def differences(found: Tables, expected: Tables) -> list[str]:
    """See `table_differences`."""
    told = (
        sentence
        for table in fields(Tables)
        for sentence in _rows_that_differ(table.name, getattr(found, table.name), getattr(expected, table.name))
    )
    shown = list(islice(told, SHOWN_DIFFERENCES))
    more = sum(1 for _ in told)
    return [*shown, f"and {more} more"] if more else shown


def _rows_that_differ(table: str, found: Mapping[object, object], expected: Mapping[object, object]) -> Iterator[str]:
    for key, row in expected.items():
        if key not in found:
            yield f"{table}: {key} is missing; it must be {row}"
        elif found[key] != row:
            yield f"{table}: {key} is {found[key]}; it must be {row}"
    for key in found.keys() - expected.keys():
        yield f"{table}: {key} is unexpected: {found[key]}"
