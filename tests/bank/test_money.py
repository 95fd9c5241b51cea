"""What must hold of an account whatever is asked of it, in any order."""

from google.protobuf.message import Message
from hypothesis import given as drawn
from hypothesis import strategies as st

from bank.account import NEVER, AccountRules
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
from bennu.domain import Rejection
from bennu.testing import given

AMOUNTS = st.integers(1, 3) | st.sampled_from([10**15, 2**62, 2**63 - 1])
MOST_TURNOVER_MINOR = 2**63
"""Another deposit of the greatest amount beyond it would make the turnover a number of more than 64 bits."""
CURRENCIES = st.sampled_from(["EUR", "EUR", "EUR", "USD"])
CASH = (Deposit, Withdraw)
TRANSFERS = (WithdrawForTransfer, DepositForTransfer, ChargeFee)


def opening() -> st.SearchStrategy[Message]:
    """Accounts with and without a limit."""
    return st.builds(
        OpenAccount, account=st.just("a"), currency=CURRENCIES, limit_minor=st.sampled_from([0, 0, 4, 10**15])
    )


def commands() -> st.SearchStrategy[list[Message]]:
    """Anything a client or a saga may ask, but what gives back: that is asked only after what took."""
    about = [st.builds(kind, account=st.just("a")) for kind in (FreezeAccount, UnfreezeAccount, CloseAccount)]
    cash = [st.builds(kind, account=st.just("a"), amount_minor=AMOUNTS, currency=CURRENCIES) for kind in CASH]
    halves = [
        st.builds(kind, account=st.just("a"), transfer=st.just("t"), amount_minor=AMOUNTS, currency=CURRENCIES)
        for kind in TRANSFERS
    ]
    return st.lists(st.one_of(opening(), *cash, *halves, *about), max_size=30)


def undo_of(command: WithdrawForTransfer | ChargeFee) -> Message:
    """What compensates it."""
    undo = ReverseWithdrawal if isinstance(command, WithdrawForTransfer) else RefundFee
    return undo(
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
        assert 0 <= state.fees_minor <= state.debited_minor
        assert 0 <= state.balance_minor <= (state.limit_minor or 2**63 - 1)
        assert state.status != NEVER or isinstance(decided.outcome, Rejection)
        if state.credited_minor > MOST_TURNOVER_MINOR:
            return


@drawn(commands())
def test_what_a_transfer_took_and_gave_back_leaves_no_trace_in_the_money(asked: list[Message]) -> None:
    """Whatever happened before: withdraw or charge for a transfer and undo it, and the money is where it was."""
    history: list[Message] = []
    for command in asked:
        decided = given(AccountRules, *history).when(command)
        if not isinstance(decided.outcome, Message):
            continue
        if isinstance(command, WithdrawForTransfer | ChargeFee):
            before = given(AccountRules, *history).state
            again = given(AccountRules, *history, decided.outcome).when(undo_of(command))
            debited = {"debited_minor": before.debited_minor, "fees_minor": before.fees_minor}
            again.then_state(balance_minor=before.balance_minor, **debited)
        if decided.state.credited_minor > MOST_TURNOVER_MINOR:
            return
        history.append(decided.outcome)
