"""What the bank shows in SQL: accounts, the ledger in double entry, and transfers."""

from typing import NamedTuple

from bank.v1.events_pb2 import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    Deposited,
    FeeCharged,
    FeeRefunded,
    TransferCompleted,
    TransferFailed,
    TransferRequested,
    WithdrawalReversed,
    Withdrawn,
)
from bennu.domain import BIGINT, TEXT, TIMESTAMP, Column, EventMeta, Projection, Rows, Table, projects

CASH = "cash"
TRANSIT = "transit"
FEES = "fees"

ACCOUNTS = Table(
    "accounts",
    key=("account",),
    comment="Accounts as they stand",
    columns=(
        Column("account", TEXT, comment="name of the account"),
        Column("owner", TEXT, comment="whose it is"),
        Column("currency", TEXT, comment="three capital letters"),
        Column("balance_minor", BIGINT, scale=2, comment="in minor units of the currency"),
        Column("status", TEXT, comment="open, frozen or closed"),
        Column("limit_minor", BIGINT, scale=2, comment="highest balance it may hold; 0 is no limit"),
        Column("opened_at", TIMESTAMP, comment="journaled time"),
        Column("updated_at", TIMESTAMP, comment="journaled time of the last event"),
    ),
)
ENTRIES = Table(
    "entries",
    key=("partition", "seq", "line"),
    indexes=(("account", "partition", "seq"), ("transfer",)),
    comment="The ledger: each movement writes two lines, which sum to zero",
    columns=(
        Column("partition", BIGINT, comment="partition of the account"),
        Column("seq", BIGINT, comment="number of the event in the partition"),
        Column("line", BIGINT, comment="0: the account's line; 1: the counter account's"),
        Column("account", TEXT, comment="on line 1 the counter account: cash (the world outside), transit or fees"),
        Column("currency", TEXT, comment="three capital letters"),
        Column("amount_minor", BIGINT, scale=2, comment="signed, in minor units of the currency"),
        Column("transfer", TEXT, nullable=True, comment="the transfer it belongs to; NULL for cash"),
        Column("kind", TEXT, comment="deposit, withdrawal, reversal, fee or refund"),
        Column("command_id", TEXT, comment="id of the command that moved the money"),
        Column("recorded_at", TIMESTAMP, comment="journaled time"),
    ),
)
TRANSFERS = Table(
    "transfers",
    key=("transfer",),
    indexes=(("status",),),
    comment="Transfers as they stand",
    columns=(
        Column("transfer", TEXT, comment="name of the transfer"),
        Column("source", TEXT, comment="account it comes from"),
        Column("target", TEXT, comment="account it goes to"),
        Column("amount_minor", BIGINT, scale=2, comment="in minor units of the currency"),
        Column("fee_minor", BIGINT, scale=2),
        Column("currency", TEXT, comment="three capital letters"),
        Column("status", TEXT, comment="requested, completed or failed"),
        Column("reason", TEXT, nullable=True),
        Column("requested_at", TIMESTAMP, comment="journaled time"),
        Column("ended_at", TIMESTAMP, nullable=True, comment="journaled time; NULL while it runs"),
    ),
)


class Line(NamedTuple):
    """One line of the ledger, as seen from the account that the event is about."""

    event: Deposited | Withdrawn | WithdrawalReversed | FeeCharged | FeeRefunded
    kind: str
    amount_minor: int
    counter: str


class Ledger(Projection):
    """Accounts, entries and transfers; in every commit the entries of a currency sum to zero."""

    name = "ledger"
    tables = (ACCOUNTS, ENTRIES, TRANSFERS)

    @projects
    def opened(self, event: AccountOpened, rows: Rows, meta: EventMeta) -> None:
        rows.upsert(
            "accounts",
            {"account": event.account},
            owner=event.owner,
            currency=event.currency,
            balance_minor=0,
            status="open",
            limit_minor=event.limit_minor,
            opened_at=meta.recorded_at_us,
            updated_at=meta.recorded_at_us,
        )

    @projects
    def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
        moved(Line(event, "deposit", event.amount_minor, outside(event)), rows, meta=meta)

    @projects
    def withdrawn(self, event: Withdrawn, rows: Rows, meta: EventMeta) -> None:
        moved(Line(event, "withdrawal", -event.amount_minor, outside(event)), rows, meta=meta)

    @projects
    def reversed(self, event: WithdrawalReversed, rows: Rows, meta: EventMeta) -> None:
        moved(Line(event, "reversal", event.amount_minor, TRANSIT), rows, meta=meta)

    @projects
    def charged(self, event: FeeCharged, rows: Rows, meta: EventMeta) -> None:
        moved(Line(event, "fee", -event.amount_minor, FEES), rows, meta=meta)

    @projects
    def refunded(self, event: FeeRefunded, rows: Rows, meta: EventMeta) -> None:
        moved(Line(event, "refund", event.amount_minor, FEES), rows, meta=meta)

    @projects
    def frozen(self, event: AccountFrozen, rows: Rows, meta: EventMeta) -> None:
        rows.update("accounts", {"account": event.account}, status="frozen", updated_at=meta.recorded_at_us)

    @projects
    def unfrozen(self, event: AccountUnfrozen, rows: Rows, meta: EventMeta) -> None:
        rows.update("accounts", {"account": event.account}, status="open", updated_at=meta.recorded_at_us)

    @projects
    def closed(self, event: AccountClosed, rows: Rows, meta: EventMeta) -> None:
        rows.update("accounts", {"account": event.account}, status="closed", updated_at=meta.recorded_at_us)

    @projects
    def requested(self, event: TransferRequested, rows: Rows, meta: EventMeta) -> None:
        rows.upsert(
            "transfers",
            {"transfer": event.transfer},
            source=event.source,
            target=event.target,
            amount_minor=event.amount_minor,
            fee_minor=event.fee_minor,
            currency=event.currency,
            status="requested",
            requested_at=meta.recorded_at_us,
        )

    @projects
    def completed(self, event: TransferCompleted, rows: Rows, meta: EventMeta) -> None:
        rows.update("transfers", {"transfer": event.transfer}, status="completed", ended_at=meta.recorded_at_us)

    @projects
    def failed(self, event: TransferFailed, rows: Rows, meta: EventMeta) -> None:
        rows.update(
            "transfers",
            {"transfer": event.transfer},
            status="failed",
            reason=event.reason,
            ended_at=meta.recorded_at_us,
        )


def outside(event: Deposited | Withdrawn) -> str:
    """The counter account of money that comes or goes."""
    return TRANSIT if event.transfer else CASH


def moved(line: Line, rows: Rows, *, meta: EventMeta) -> None:
    """The account's new balance, its line, and the counter account's line with the opposite sign."""
    event = line.event
    rows.update(
        "accounts", {"account": event.account}, balance_minor=event.balance_minor, updated_at=meta.recorded_at_us
    )
    for number, (account, amount_minor) in enumerate(
        ((event.account, line.amount_minor), (line.counter, -line.amount_minor))
    ):
        rows.append(
            "entries",
            partition=meta.partition,
            seq=meta.seq,
            line=number,
            account=account,
            currency=event.currency,
            amount_minor=amount_minor,
            transfer=event.transfer or None,
            kind=line.kind,
            command_id=meta.command_id,
            recorded_at=meta.recorded_at_us,
        )
