"""The rules of a transfer as its initiator sees it, and the steps that carried it out in version 1."""

import pytest
from google.protobuf.message import Message

from bank import transfer as rules
from bank.transfer import (
    COMPLETED,
    FAILED,
    FREE_BELOW_MINOR,
    REQUESTED,
    SCREENED_FROM_MINOR,
    TransferRules,
    TransferSaga,
    fee_of,
)
from bank.v1.commands_pb2 import (
    CompleteTransfer,
    DepositForTransfer,
    FailTransfer,
    ReverseWithdrawal,
    Transfer,
    WithdrawForTransfer,
)
from bank.v1.events_pb2 import TransferCompleted, TransferFailed, TransferRequested
from bank.v1.queries_pb2 import GetTransfer, TransferView
from bank.v1.types_pb2 import TransferStatus
from bennu.domain.plan import plan_of
from bennu.testing import given
from bennu.testing.given import Given

COMMAND = Transfer(transfer="t", source="a", target="b", amount_minor=7, currency="EUR")
ASKED = TransferRequested(transfer="t", source="a", target="b", amount_minor=7, currency="EUR")
DONE = TransferCompleted(transfer="t")
UNDONE = TransferFailed(transfer="t", reason="account_frozen")


def transfer(*history: Message) -> Given[rules.Transfer]:
    """A transfer of which these events happened."""
    return given(TransferRules, *history)


def test_a_transfer_is_requested_once() -> None:
    """A name stands for one transfer for ever, however it ended."""
    transfer().when(COMMAND).then(ASKED).then_replied(ASKED).then_state(status=REQUESTED, amount_minor=7)
    for history in ((ASKED,), (ASKED, DONE), (ASKED, UNDONE)):
        transfer(*history).when(COMMAND).then_rejected("transfer_exists")


def test_nothing_is_transferred_to_where_it_is() -> None:
    """Source and target must differ."""
    to_itself = Transfer(transfer="t", source="a", target="a", amount_minor=7, currency="EUR")
    transfer().when(to_itself).then_rejected("same_account")


def event(amount_minor: int) -> TransferRequested:
    """That a transfer of so much was requested."""
    command = Transfer(transfer="t", source="a", target="b", amount_minor=amount_minor, currency="EUR")
    decided = transfer().when(command).outcome
    assert isinstance(decided, TransferRequested)
    return decided


def test_the_payee_of_a_large_transfer_is_screened() -> None:
    """From a certain amount on; the event says so."""
    assert [event(SCREENED_FROM_MINOR + more).screened for more in (-1, 0, 1)] == [False, True, True]


@pytest.mark.parametrize(
    ("amount_minor", "fee_minor"),
    [(1, 0), (FREE_BELOW_MINOR - 1, 0), (FREE_BELOW_MINOR, 500), (FREE_BELOW_MINOR + 999, 500), (10**15, 10**12)],
)
def test_a_transfer_costs_what_the_tariff_says(amount_minor: int, fee_minor: int) -> None:
    """A small one nothing, others a thousandth, rounded down; the event says so, and so does the view."""
    assert fee_of(amount_minor) == fee_minor
    asked = event(amount_minor)
    assert asked.fee_minor == fee_minor
    transfer(asked).when(CompleteTransfer(transfer="t")).then_state(fee_minor=fee_minor)
    shown = view(TransferStatus.TRANSFER_STATUS_REQUESTED)
    shown.amount_minor, shown.fee_minor = amount_minor, fee_minor
    transfer(asked).when_asked(GetTransfer(transfer="t")).then_answers(shown)


def test_a_transfer_keeps_the_fee_that_it_was_asked_for_with() -> None:
    """Whatever the tariff says today: one from before there were fees is free."""
    asked = TransferRequested(transfer="t", source="a", target="b", amount_minor=10**9, currency="EUR")
    transfer(asked).when(CompleteTransfer(transfer="t")).then(DONE).then_state(fee_minor=0)


def test_a_requested_transfer_completes() -> None:
    """The saga's closing command ends it well."""
    transfer(ASKED).when(CompleteTransfer(transfer="t")).then(DONE).then_state(status=COMPLETED, reason="")


def test_a_requested_transfer_fails_for_a_reason() -> None:
    """The reason is the rule that refused a step."""
    command = FailTransfer(transfer="t", reason="account_frozen")
    transfer(ASKED).when(command).then(UNDONE).then_state(status=FAILED, reason="account_frozen")


@pytest.mark.parametrize("command", [CompleteTransfer(transfer="t"), FailTransfer(transfer="t", reason="late")])
@pytest.mark.parametrize("history", [(), (ASKED, DONE), (ASKED, UNDONE)], ids=["unknown", "completed", "failed"])
def test_only_a_requested_transfer_ends(history: tuple[Message, ...], command: Message) -> None:
    """An end is not changed by a second one, and what was never asked for has none."""
    transfer(*history).when(command).then_rejected("transfer_not_running")


def view(status: "TransferStatus.ValueType", reason: str = "") -> TransferView:
    """What the initiator is shown."""
    return TransferView(
        transfer="t", source="a", target="b", amount_minor=7, currency="EUR", status=status, reason=reason
    )


def test_a_transfer_shows_how_far_it_got() -> None:
    """Requested, completed, or failed and why; one that was never requested is unknown."""
    query = GetTransfer(transfer="t")
    transfer(ASKED).when_asked(query).then_answers(view(TransferStatus.TRANSFER_STATUS_REQUESTED))
    transfer(ASKED, DONE).when_asked(query).then_answers(view(TransferStatus.TRANSFER_STATUS_COMPLETED))
    failed = view(TransferStatus.TRANSFER_STATUS_FAILED, "account_frozen")
    transfer(ASKED, UNDONE).when_asked(query).then_answers(failed)
    transfer().when_asked(query).then_rejected("transfer_unknown")


def test_each_step_moves_the_same_money() -> None:
    """Withdrawal, reversal and deposit name the transfer, its amount and currency, at the right account."""
    withdraw, deposit = TransferSaga.steps
    money = {"transfer": "t", "amount_minor": 7, "currency": "EUR"}
    assert withdraw.command(ASKED) == WithdrawForTransfer(account="a", **money)  # type: ignore[arg-type]  # as above
    assert callable(withdraw.compensation)
    assert withdraw.compensation(ASKED) == ReverseWithdrawal(account="a", **money)  # type: ignore[arg-type]  # as above
    assert deposit.command(ASKED) == DepositForTransfer(account="b", **money)  # type: ignore[arg-type]  # as above


def test_the_last_step_is_the_pivot() -> None:
    """After the deposit there is only forward: it can neither be undone nor time out."""
    withdraw, deposit = plan_of(TransferSaga)
    assert (withdraw.pivot, deposit.pivot) == (False, True)
    assert withdraw.timeout_ms > 0
    assert (deposit.compensation, deposit.timeout_ms) == (None, 0)


def test_the_initiator_hears_the_end() -> None:
    """The saga is named by the transfer, and closes with what `TransferRules` ends by."""
    saga = TransferSaga()
    assert saga.key(ASKED) == "t"
    transfer(ASKED).when(saga.completed(ASKED)).then(DONE)
    transfer(ASKED).when(saga.failed(ASKED, "account_frozen")).then(UNDONE)
