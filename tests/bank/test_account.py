"""The rules of an account, each as history → command → events."""

import pytest
from google.protobuf.message import Message

from bank.account import CLOSED, FROZEN, MAX_BALANCE_MINOR, OPEN, Account, AccountRules
from bank.v1.commands_pb2 import (
    ChargeFee,
    CloseAccount,
    Deposit,
    DepositForTransfer,
    FreezeAccount,
    OpenAccount,
    RefundFee,
    ReverseWithdrawal,
    UnfreezeAccount,
    Withdraw,
    WithdrawForTransfer,
)
from bank.v1.events_pb2 import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    Deposited,
    FeeCharged,
    FeeRefunded,
    WithdrawalReversed,
    Withdrawn,
)
from bank.v1.queries_pb2 import AccountView, GetAccount, GetStatement, StatementView
from bank.v1.types_pb2 import AccountStatus
from bennu.testing import given
from bennu.testing.given import Given

OPENED = AccountOpened(account="a", owner="Ann", currency="EUR")
LIMITED = AccountOpened(account="a", owner="Ann", currency="EUR", limit_minor=100)
FROZE, UNFROZE, SHUT = AccountFrozen(account="a"), AccountUnfrozen(account="a"), AccountClosed(account="a")

MOVEMENTS = (
    Deposit(account="a", amount_minor=1, currency="EUR"),
    Withdraw(account="a", amount_minor=1, currency="EUR"),
    DepositForTransfer(account="a", transfer="t", amount_minor=1, currency="EUR"),
    WithdrawForTransfer(account="a", transfer="t", amount_minor=1, currency="EUR"),
    ChargeFee(account="a", transfer="t", amount_minor=1, currency="EUR"),
)
"""One command of each kind that moves money, and that a usable account with money in it accepts."""


def account(*history: Message) -> Given[Account]:
    """An account of which these events happened."""
    return given(AccountRules, *history)


def holding(balance_minor: int, opened: AccountOpened = OPENED) -> Given[Account]:
    """An open account with so much in it."""
    return account(opened, deposited(balance_minor, balance_minor))


def deposited(amount_minor: int, balance_minor: int, transfer: str = "") -> Deposited:
    """Money came in."""
    return Deposited(
        account="a", amount_minor=amount_minor, currency="EUR", balance_minor=balance_minor, transfer=transfer
    )


def withdrawn(amount_minor: int, balance_minor: int, transfer: str = "") -> Withdrawn:
    """Money went out."""
    return Withdrawn(
        account="a", amount_minor=amount_minor, currency="EUR", balance_minor=balance_minor, transfer=transfer
    )


def reversal(amount_minor: int) -> ReverseWithdrawal:
    """The command that gives back what a failed transfer took."""
    return ReverseWithdrawal(account="a", transfer="t", amount_minor=amount_minor, currency="EUR")


def charged(amount_minor: int, balance_minor: int) -> FeeCharged:
    """A transfer cost so much."""
    return FeeCharged(account="a", amount_minor=amount_minor, currency="EUR", balance_minor=balance_minor, transfer="t")


def refund(amount_minor: int) -> RefundFee:
    """The command that gives back the fee of a failed transfer."""
    return RefundFee(account="a", transfer="t", amount_minor=amount_minor, currency="EUR")


def test_an_account_is_opened_once() -> None:
    """The first to open an account names its owner, currency and limit; the name is taken from then on."""
    command = OpenAccount(account="a", owner="Ann", currency="EUR", limit_minor=100)
    account().when(command).then(LIMITED).then_replied(LIMITED).then_state(status=OPEN, currency="EUR", limit_minor=100)
    account(OPENED).when(command).then_rejected("account_exists")


@pytest.mark.parametrize("end", [(FROZE,), (SHUT,)])
def test_the_name_of_a_frozen_or_closed_account_stays_taken(end: tuple[Message, ...]) -> None:
    """No account is opened again under a name that had one: its history would run on in another's."""
    account(OPENED, *end).when(OpenAccount(account="a", currency="USD")).then_rejected("account_exists")


def test_a_deposit_raises_the_balance() -> None:
    """A deposit adds to the balance, and its event says what the balance is then."""
    command = Deposit(account="a", amount_minor=5, currency="EUR")
    holding(10).when(command).then(deposited(5, 15)).then_state(balance_minor=15, credited_minor=15, movements=2)


def test_a_withdrawal_lowers_the_balance() -> None:
    """A withdrawal takes from the balance, down to nothing."""
    command = Withdraw(account="a", amount_minor=10, currency="EUR")
    holding(10).when(command).then(withdrawn(10, 0)).then_state(balance_minor=0, debited_minor=10)


def test_what_is_not_there_can_not_be_withdrawn() -> None:
    """A balance never falls below zero, neither for cash nor for a transfer."""
    holding(10).when(Withdraw(account="a", amount_minor=11, currency="EUR")).then_rejected("insufficient_funds")
    command = WithdrawForTransfer(account="a", transfer="t", amount_minor=11, currency="EUR")
    holding(10).when(command).then_rejected("insufficient_funds")


def test_a_transfer_moves_money_as_cash_does() -> None:
    """The two halves of a transfer are a withdrawal and a deposit whose events name it."""
    out = WithdrawForTransfer(account="a", transfer="t", amount_minor=4, currency="EUR")
    holding(10).when(out).then(withdrawn(4, 6, "t")).then_state(balance_minor=6)
    back = DepositForTransfer(account="a", transfer="t", amount_minor=4, currency="EUR")
    holding(10).when(back).then(deposited(4, 14, "t")).then_state(balance_minor=14)


@pytest.mark.parametrize("command", MOVEMENTS, ids=lambda command: type(command).__name__)
def test_no_money_moves_through_an_unusable_account(command: Message) -> None:
    """Unknown, frozen, closed, or of another currency: each is refused by its own name, whichever way money goes."""
    paid_in = (OPENED, deposited(10, 10))
    account().when(command).then_rejected("account_unknown")
    account(*paid_in, FROZE).when(command).then_rejected("account_frozen")
    account(*paid_in, withdrawn(10, 0), SHUT).when(command).then_rejected("account_closed")
    account(AccountOpened(account="a", currency="USD")).when(command).then_rejected("currency_mismatch")
    account(*paid_in, FROZE, UNFROZE).when(command).then_state(movements=2)


@pytest.mark.parametrize("kind", [Deposit, DepositForTransfer])
def test_a_limit_is_the_highest_balance(kind: type[Deposit | DepositForTransfer]) -> None:
    """An account with a limit may hold exactly that much, and no deposit beyond it is taken."""
    command = kind(account="a", amount_minor=40, currency="EUR")
    holding(60, LIMITED).when(command).then_state(balance_minor=100)
    holding(61, LIMITED).when(command).then_rejected("limit_exceeded")


def test_a_balance_does_not_overflow() -> None:
    """The greatest balance is 2^63 - 1: what would exceed it is refused, a reversal as well."""
    command = Deposit(account="a", amount_minor=1, currency="EUR")
    holding(MAX_BALANCE_MINOR - 1).when(command).then_state(balance_minor=MAX_BALANCE_MINOR)
    holding(MAX_BALANCE_MINOR).when(command).then_rejected("balance_overflow")
    holding(MAX_BALANCE_MINOR).when(reversal(1)).then_rejected("balance_overflow")


@pytest.mark.parametrize("since", [(), (FROZE,), (SHUT,)], ids=["open", "frozen", "closed"])
def test_a_reversal_gives_back_whatever_became_of_the_account(since: tuple[Message, ...]) -> None:
    """What a failed transfer took is the account's own, also when it was frozen, closed or limited since."""
    taken = (LIMITED, deposited(100, 100), withdrawn(100, 0, "t"), *since)
    given_back = WithdrawalReversed(account="a", amount_minor=100, currency="EUR", balance_minor=100, transfer="t")
    account(*taken).when(reversal(100)).then(given_back).then_state(balance_minor=100, debited_minor=0, movements=3)


def test_a_fee_is_a_debit_that_is_known_as_one() -> None:
    """It comes out of the balance, down to nothing, and is summed up by itself."""
    command = ChargeFee(account="a", transfer="t", amount_minor=4, currency="EUR")
    holding(10).when(command).then(charged(4, 6)).then_state(balance_minor=6, debited_minor=4, fees_minor=4)
    holding(4).when(command).then_state(balance_minor=0)
    holding(3).when(command).then_rejected("insufficient_funds")


@pytest.mark.parametrize("since", [(), (FROZE,), (SHUT,)], ids=["open", "frozen", "closed"])
def test_a_fee_is_refunded_whatever_became_of_the_account(since: tuple[Message, ...]) -> None:
    """As a reversal: also beyond a limit, and never beyond what a balance can be."""
    paid = (LIMITED, deposited(100, 100), charged(10, 90), deposited(10, 100), *since)
    refunded = FeeRefunded(account="a", amount_minor=10, currency="EUR", balance_minor=110, transfer="t")
    account(*paid).when(refund(10)).then(refunded).then_state(balance_minor=110, debited_minor=0, fees_minor=0)
    holding(MAX_BALANCE_MINOR).when(refund(1)).then_rejected("balance_overflow")


def test_nothing_is_given_back_to_nobody() -> None:
    """A reversal or a refund for an account that was never opened is refused."""
    account().when(reversal(1)).then_rejected("account_unknown")
    account().when(refund(1)).then_rejected("account_unknown")


def test_only_a_usable_account_can_be_frozen() -> None:
    """Freezing needs an open account, and holds until it is undone."""
    command = FreezeAccount(account="a")
    account(OPENED).when(command).then(FROZE).then_state(status=FROZEN)
    account().when(command).then_rejected("account_unknown")
    account(OPENED, FROZE).when(command).then_rejected("account_frozen")
    account(OPENED, SHUT).when(command).then_rejected("account_closed")


def test_only_a_frozen_account_can_be_unfrozen() -> None:
    """Unfreezing undoes freezing, and nothing else."""
    command = UnfreezeAccount(account="a")
    account(OPENED, FROZE).when(command).then(UNFROZE).then_state(status=OPEN)
    for history in ((), (OPENED,), (OPENED, SHUT), (OPENED, FROZE, UNFROZE)):
        account(*history).when(command).then_rejected("account_not_frozen")


def test_only_an_empty_usable_account_can_be_closed() -> None:
    """Closing would lose what is still in the account, or hide that it is frozen."""
    command = CloseAccount(account="a")
    account(OPENED).when(command).then(SHUT).then_state(status=CLOSED)
    holding(1).when(command).then_rejected("balance_not_zero")
    account().when(command).then_rejected("account_unknown")
    account(OPENED, FROZE).when(command).then_rejected("account_frozen")
    account(OPENED, SHUT).when(command).then_rejected("account_closed")


def test_an_account_shows_itself() -> None:
    """The view holds what was opened and what became of it; one that was never opened is unknown."""
    view = AccountView(
        account="a",
        owner="Ann",
        currency="EUR",
        balance_minor=60,
        status=AccountStatus.ACCOUNT_STATUS_FROZEN,
        limit_minor=100,
    )
    account(LIMITED, deposited(60, 60), FROZE).when_asked(GetAccount(account="a")).then_answers(view)
    account().when_asked(GetAccount(account="a")).then_rejected("account_unknown")


def test_a_statement_sums_up_the_turnover() -> None:
    """A reversed withdrawal counts as a movement, and not as money that went out; fees went out."""
    history = (
        OPENED,
        deposited(60, 60),
        withdrawn(20, 40, "t"),
        WithdrawalReversed(account="a", amount_minor=20, currency="EUR", balance_minor=60, transfer="t"),
        withdrawn(5, 55),
        charged(3, 52),
    )
    statement = StatementView(
        account="a", currency="EUR", balance_minor=52, movements=5, credited_minor=60, debited_minor=8, fees_minor=3
    )
    account(*history).when_asked(GetStatement(account="a")).then_answers(statement)
    account().when_asked(GetStatement(account="a")).then_rejected("account_unknown")


def test_accounts_share_the_text_of_their_currency() -> None:
    """A million texts of three letters would take 56 bytes each, and a look at memory for each that is read."""
    one, other = Account(), Account()
    for state in (one, other):
        AccountRules().opened(state, AccountOpened.FromString(OPENED.SerializeToString()))
    assert one.currency is other.currency
