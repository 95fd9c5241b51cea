"""What `bennu explore` lets the bank's transfers live through."""

from collections.abc import Sequence

from google.protobuf.message import Message

from bank.account import Account
from bank.transfer import SCREENED_FROM_MINOR, fee_of
from bank.v1.commands_pb2 import BlockPayee, Deposit, OpenAccount, Transfer
from bennu.domain import Scenario, States

PAID_IN_MINOR = 100
LARGE_MINOR = SCREENED_FROM_MINOR
"""Of a transfer that costs a fee and is screened."""


def all_is_there(states: States, paid_in_minor: int) -> None:
    """What was paid in is on the accounts, or was paid in fees: none is in transit, none came from nowhere."""
    accounts = [state for state in states["AccountRules"].values() if isinstance(state, Account)]
    found = sum(account.balance_minor + account.fees_minor for account in accounts)
    assert found == paid_in_minor, f"{paid_in_minor} was paid in, {found} is on the accounts or paid in fees"


def all_money_is_there(states: States) -> None:
    """As above, of `PAID_IN_MINOR`."""
    all_is_there(states, PAID_IN_MINOR)


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


def large(name: str, *before: Message, funds_minor: int = 2 * LARGE_MINOR, succeeds: bool) -> Scenario:
    """A large transfer out of so much, that arrives and costs its fee, if it may succeed, or does neither."""

    def paid_or_not(states: States) -> None:
        all_is_there(states, funds_minor)
        alice, bob = (states["AccountRules"][name] for name in ("alice", "bob"))
        assert isinstance(alice, Account)
        assert isinstance(bob, Account)
        found = (bob.balance_minor, alice.fees_minor)
        legal = [(0, 0), (LARGE_MINOR, fee_of(LARGE_MINOR))][: 1 + succeeds]
        assert found in legal, f"bob has {found[0]} and the bank {found[1]}, which should be one of {legal}"

    given: Sequence[Message] = (
        OpenAccount(account="alice", currency="EUR"),
        OpenAccount(account="bob", currency="EUR"),
        Deposit(account="alice", currency="EUR", amount_minor=funds_minor),
        *before,
    )
    end = "completed" if succeeds else "compensated"
    asked = Transfer(transfer="t", source="alice", target="bob", currency="EUR", amount_minor=LARGE_MINOR)
    return Scenario(name, given=given, when=asked, check=paid_or_not, ends=(end,))


LARGE = large("Large", succeeds=True)
BLOCKED = large("Blocked", BlockPayee(payee="bob", reason="known for it"), succeeds=False)
POOR = large("Poor", funds_minor=LARGE_MINOR, succeeds=False)
"""There is enough for the amount, and then not for the fee; or for the fee, and then not for the amount."""
