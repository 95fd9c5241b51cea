"""States as they were, field by field: snapshots from before transfers cost anything hold them."""

import msgspec

from bank.account import Account
from bank.transfer import Transfer
from bennu.domain import State, upcasts


class AccountV1(State):
    """It paid no fees."""

    status: int = 0
    currency: str = ""
    owner: str = ""
    balance_minor: int = 0
    limit_minor: int = 0
    movements: int = 0
    credited_minor: int = 0
    debited_minor: int = 0


class TransferV1(State):
    """It cost nothing."""

    status: int = 0
    source: str = ""
    target: str = ""
    amount_minor: int = 0
    currency: str = ""
    reason: str = ""


@upcasts
def account(old: AccountV1) -> Account:
    """No fees so far."""
    return Account(**msgspec.structs.asdict(old))


@upcasts
def transfer(old: TransferV1) -> Transfer:
    """It stays free of charge."""
    return Transfer(**msgspec.structs.asdict(old))
