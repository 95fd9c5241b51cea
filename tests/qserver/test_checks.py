"""The bank's checks must see what is wrong: a checker that never caught anything proves nothing."""

from copy import deepcopy
from datetime import UTC, datetime
from random import Random

import pytest

from bank.checks import SHOWN_DIFFERENCES, AccountRow, Tables, differences, entry_sums, fees, fees_due, money, recompute
from bennu.log.memory import MemoryBroker, MemoryLog
from tests.journal_writer import Entry, JournalWriter
from tests.qserver.history import Bank
from tests.qserver.serving import as_rows

AT = datetime(2026, 11, 24, tzinfo=UTC)


def ledger(seed: int, *, entries: int = 200) -> tuple[Bank, Tables]:
    """A random history of one batch, and what it recomputes to."""
    print(f"seed {seed}")
    bank = Bank(Random(seed))
    writer = JournalWriter(MemoryLog(MemoryBroker()), "bank-events-0")
    history: list[Entry] = bank.entries(entries)
    return bank, recompute([[writer.build(history, recorded_at_us=bank.clock_us)]])


def test_two_folds_agree() -> None:
    """The recomputation makes the rows that the history itself says it made."""
    bank, tables = ledger(1)
    assert as_rows(tables) == bank.tables


def test_money_is_accounts_transit_and_fees() -> None:
    """Entries sum to zero, and what left cash is in accounts, in transit and in fees, for each currency."""
    _, tables = ledger(2)
    cash = sum(row.amount_minor for row in tables.entries.values() if row.line == 1 and row.account == "cash")
    assert cash
    assert money(tables) == {"EUR": -cash}
    assert entry_sums(tables) == {"EUR": 0}


@pytest.mark.parametrize("name", ["transit", "fees"])
def test_an_account_may_be_called_as_a_counter_account(name: str) -> None:
    """Only counter lines are in transit, or fees: an account of that name is an account."""
    _, tables = ledger(3)
    before = money(tables), fees(tables)
    for row in tables.entries.values():
        if row.line == 0:
            row.account = name
    assert (money(tables), fees(tables)) == before


def test_fees_are_what_was_charged_and_not_refunded() -> None:
    """And what completed transfers cost is said by themselves."""
    _, tables = ledger(6)
    charged, refunded = (
        sum(abs(row.amount_minor) for row in tables.entries.values() if (row.kind, row.line) == (kind, 0))
        for kind in ("fee", "refund")
    )
    assert charged
    assert refunded
    assert fees(tables) == {"EUR": charged - refunded}
    completed = [row.fee_minor for row in tables.transfers.values() if row.status == "completed"]
    assert fees_due(tables) == {"EUR": sum(completed)}


def test_each_difference_is_named() -> None:
    """A row that is missing, unexpected or different in one column is named with its table and key."""
    _, expected = ledger(4)
    found = deepcopy(expected)
    account, transfer = next(iter(found.accounts.values())), next(iter(found.transfers))
    account.balance_minor += 1
    del found.transfers[transfer]
    found.accounts["nobody"] = AccountRow("nobody", "", "EUR", 0, "open", 0, AT, AT)
    told = differences(found, expected)
    assert len(told) == 3
    assert any(text.startswith(f"accounts: {account.account} is AccountRow") for text in told)
    assert any(text.startswith(f"transfers: {transfer} is missing") for text in told)
    assert any(text.startswith("accounts: nobody is unexpected") for text in told)
    assert not differences(expected, expected)


def test_differences_are_bounded() -> None:
    """Many differences become a readable number of sentences, the last of which counts the others."""
    _, expected = ledger(5)
    told = differences(Tables(), expected)
    rows = len(expected.accounts) + len(expected.entries) + len(expected.transfers)
    assert len(told) == SHOWN_DIFFERENCES + 1
    assert told[-1] == f"and {rows - SHOWN_DIFFERENCES} more"
