"""What must hold of an account whatever is asked of it, in any order."""

from google.protobuf.message import Message
from hypothesis import given as drawn
from hypothesis import strategies as st

from bank.account import NEVER, AccountRules
from bank.v1.commands_pb2 import (
    CloseAccount,
    Deposit,
    DepositForTransfer,
    FreezeAccount,
    OpenAccount,
    ReverseWithdrawal,
    UnfreezeAccount,
    Withdraw,
    WithdrawForTransfer,
)
from bennu.domain import Rejection
from bennu.testing import given

AMOUNTS = st.integers(1, 3) | st.sampled_from([10**15, 2**62, 2**63 - 1])
CURRENCIES = st.sampled_from(["EUR", "EUR", "EUR", "USD"])
CASH = (Deposit, Withdraw)
TRANSFERS = (WithdrawForTransfer, DepositForTransfer)


def opening() -> st.SearchStrategy[Message]:
    """Accounts with and without a limit."""
    return st.builds(
        OpenAccount, account=st.just("a"), currency=CURRENCIES, limit_minor=st.sampled_from([0, 0, 4, 10**15])
    )


def commands() -> st.SearchStrategy[list[Message]]:
    """Anything a client or a saga may ask, reversals aside: those are asked only after a withdrawal."""
    about = [st.builds(kind, account=st.just("a")) for kind in (FreezeAccount, UnfreezeAccount, CloseAccount)]
    cash = [st.builds(kind, account=st.just("a"), amount_minor=AMOUNTS, currency=CURRENCIES) for kind in CASH]
    halves = [
        st.builds(kind, account=st.just("a"), transfer=st.just("t"), amount_minor=AMOUNTS, currency=CURRENCIES)
        for kind in TRANSFERS
    ]
    return st.lists(st.one_of(opening(), *cash, *halves, *about), max_size=30)


def reversed_of(command: WithdrawForTransfer) -> ReverseWithdrawal:
    """What compensates it."""
    return ReverseWithdrawal(
        account=command.account, transfer=command.transfer, amount_minor=command.amount_minor, currency=command.currency
    )


@drawn(commands())
def test_a_balance_is_what_came_in_less_what_went_out(asked: list[Message]) -> None:
    """The balance is never negative, never beyond 63 bits or the limit, and equals credits less debits."""
    history: list[Message] = []
    for command in asked:
        decided = given(AccountRules, *history).when(command)
        if isinstance(decided.outcome, Message):
            history.append(decided.outcome)
        state = decided.state
        assert state.balance_minor == state.credited_minor - state.debited_minor
        assert 0 <= state.balance_minor <= (state.limit_minor or 2**63 - 1)
        assert state.status != NEVER or isinstance(decided.outcome, Rejection)


@drawn(commands())
def test_a_withdrawal_that_is_reversed_leaves_no_trace_in_the_money(asked: list[Message]) -> None:
    """Whatever happened before: withdraw for a transfer and reverse it, and the money is where it was."""
    history: list[Message] = []
    for command in asked:
        decided = given(AccountRules, *history).when(command)
        if not isinstance(decided.outcome, Message):
            continue
        if isinstance(command, WithdrawForTransfer):
            before = given(AccountRules, *history).state
            again = given(AccountRules, *history, decided.outcome).when(reversed_of(command))
            again.then_state(balance_minor=before.balance_minor, debited_minor=before.debited_minor)
        history.append(decided.outcome)
