"""States of snapshots from before transfers cost anything."""

import msgspec

from bank.account import OPEN, Account
from bank.older import AccountV1, TransferV1, account, transfer
from bank.transfer import REQUESTED, Transfer


def test_an_account_has_paid_no_fees() -> None:
    """All else is as it was."""
    old = AccountV1(
        status=OPEN,
        currency="EUR",
        owner="Ann",
        balance_minor=5,
        limit_minor=9,
        movements=3,
        credited_minor=7,
        debited_minor=2,
    )
    assert account(old) == Account(**msgspec.structs.asdict(old), fees_minor=0)


def test_a_transfer_under_way_stays_free() -> None:
    """All else is as it was."""
    old = TransferV1(status=REQUESTED, source="a", target="b", amount_minor=10**6, currency="EUR", reason="")
    assert transfer(old) == Transfer(**msgspec.structs.asdict(old), fee_minor=0)
