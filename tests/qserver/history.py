"""Random histories of a bank, and a plain fold of them: what the tables must hold."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from google.protobuf.message import Message

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
from tests.journal_writer import Entry, JournalWriter

Row = dict[str, Any]
Rows = dict[str, dict[tuple[Any, ...], Row]]
"""The rows of each table, by their keys."""

START_US = 1_700_000_000_123_457
MOVEMENTS = (
    ("deposit", Deposited, 1, "transit"),
    ("withdrawal", Withdrawn, -1, "transit"),
    ("reversal", WithdrawalReversed, 1, "transit"),
    ("fee", FeeCharged, -1, "fees"),
    ("refund", FeeRefunded, 1, "fees"),
)
"""Kind, event, sign, and the counter account of one that belongs to a transfer, which the first two need not."""


def at(recorded_at_us: int) -> datetime:
    """Journaled time as Postgres gives it back."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=recorded_at_us)


@dataclass
class Bank:
    """One partition's bank: makes events that a bank could make, and keeps what the tables must show."""

    random: Random
    partition: int = 0
    clock_us: int = START_US
    seq: int = 1
    tables: Rows = field(default_factory=lambda: {"accounts": {}, "entries": {}, "transfers": {}})
    serial: int = 0

    def entries(self, count: int) -> list[Entry]:
        """`count` commands' worth of history."""
        return [self._entry() for _ in range(count)]

    def _entry(self) -> Entry:
        self.serial += 1
        command_id = f"c{self.partition}-{self.serial}"
        events = [self._event(command_id) for _ in range(self.random.choice((0, 1, 1, 1, 2)))]
        return Entry(command_id, events)

    def _event(self, command_id: str) -> Message:
        makers: list[Callable[[str], Message]] = [self._open, self._request, self._screening]
        if self.tables["accounts"]:
            makers += [self._move] * 8 + [self._status]
        if self.tables["transfers"]:
            makers += [self._end] * 2
        make = self.random.choice(makers)
        event = make(command_id)
        self.seq += 1
        return event

    def _open(self, _command_id: str) -> Message:
        name = f"a{self.partition}-{len(self.tables['accounts'])}"
        row: Row = {"account": name, "owner": "Zoë 😀", "currency": "EUR", "limit_minor": self.random.randrange(2**63)}
        self.tables["accounts"][(name,)] = row | {
            "balance_minor": 0,
            "status": "open",
            "opened_at": at(self.clock_us),
            "updated_at": at(self.clock_us),
        }
        return AccountOpened(**row)

    def _account(self) -> Row:
        return self.random.choice(list(self.tables["accounts"].values()))

    def _move(self, command_id: str) -> Message:
        account, amount = self._account(), self.random.randrange(1, 1000)
        kind, make, sign, counter = self.random.choice(MOVEMENTS)
        may_be_cash = kind in ("deposit", "withdrawal")
        transfer = "" if may_be_cash and self.random.random() < 0.5 else f"t{self.random.randrange(5)}"
        account["balance_minor"] += sign * amount
        account["updated_at"] = at(self.clock_us)
        line = {"transfer": transfer or None, "kind": kind, "command_id": command_id, "currency": "EUR"}
        counter = counter if transfer else "cash"
        for number, (name, signed) in enumerate(((account["account"], sign * amount), (counter, -sign * amount))):
            key = (self.partition, self.seq, number)
            self.tables["entries"][key] = line | {
                "partition": self.partition,
                "seq": self.seq,
                "line": number,
                "account": name,
                "amount_minor": signed,
                "recorded_at": at(self.clock_us),
            }
        return make(
            account=account["account"],
            amount_minor=amount,
            currency="EUR",
            balance_minor=account["balance_minor"],
            transfer=transfer,
        )

    def _status(self, _command_id: str) -> Message:
        account = self._account()
        status, make = self.random.choice(
            (("frozen", AccountFrozen), ("open", AccountUnfrozen), ("closed", AccountClosed))
        )
        account |= {"status": status, "updated_at": at(self.clock_us)}
        return make(account=account["account"])

    def _request(self, _command_id: str) -> Message:
        name = f"t{self.partition}-{len(self.tables['transfers'])}"
        said: Row = {"transfer": name, "source": "a", "target": "b", "amount_minor": 5, "currency": "EUR"}
        said["fee_minor"] = self.random.choice((0, 3))
        ends = {"status": "requested", "reason": None, "requested_at": at(self.clock_us), "ended_at": None}
        self.tables["transfers"][(name,)] = said | ends
        return TransferRequested(**said)

    def _screening(self, _command_id: str) -> Message:
        """What no table shows."""
        if self.random.random() < 0.5:
            return TransferScreened(payee="b", transfer="t0", amount_minor=5, currency="EUR")
        return self.random.choice((PayeeBlocked, PayeeUnblocked))(payee="b", reason="because")

    def _end(self, _command_id: str) -> Message:
        transfer = self.random.choice(list(self.tables["transfers"].values()))
        transfer["ended_at"] = at(self.clock_us)
        if self.random.random() < 0.5:
            transfer["status"] = "completed"
            return TransferCompleted(transfer=transfer["transfer"])
        transfer |= {"status": "failed", "reason": "account_closed"}
        return TransferFailed(transfer=transfer["transfer"], reason="account_closed")


def merged(tables: Iterable[Rows]) -> Rows:
    """The rows of several partitions together."""
    together: Rows = {}
    for rows in tables:
        for name, of_table in rows.items():
            together.setdefault(name, {}).update(of_table)
    return together


async def write_history(writer: JournalWriter, bank: Bank, *, batches: int) -> None:
    """Random batches of the bank's history; an epoch first, and sometimes another."""
    if not writer.position.epoch:
        await writer.epoch()
    for _ in range(batches):
        if bank.random.random() < 0.05:
            await writer.epoch(bank.random.getrandbits(64))
        bank.clock_us += bank.random.randrange(1_000_000)
        await writer.batch(bank.entries(bank.random.choice((0, 1, 1, 5, 30))), recorded_at_us=bank.clock_us)
