"""What `bennu explore` lets the bank's transfer live through."""

from bank.account import Account
from bank.v1.commands_pb2 import Deposit, OpenAccount, Transfer
from bennu.domain import Scenario, States

PAID_IN_MINOR = 100


def all_money_is_there(states: States) -> None:
    """What was paid in is on the accounts: none is in transit any more, none came from nowhere."""
    accounts = [state for state in states["AccountRules"].values() if isinstance(state, Account)]
    found = sum(account.balance_minor for account in accounts)
    assert found == PAID_IN_MINOR, f"{PAID_IN_MINOR} was paid in, {found} is on the accounts"


TRANSFER = Scenario(
    "Transfer",
    given=(
        OpenAccount(account="alice", currency="EUR"),
        OpenAccount(account="bob", currency="EUR"),
        Deposit(account="alice", currency="EUR", amount_minor=PAID_IN_MINOR),
    ),
    when=Transfer(transfer="t", source="alice", target="bob", currency="EUR", amount_minor=30),
    check=all_money_is_there,
)
