"""The rules of the fraud check: whom the staff blocks no large transfer reaches."""

from google.protobuf.message import Message

from bank.screening import Screening, ScreeningRules
from bank.v1.commands_pb2 import BlockPayee, ScreenTransfer, UnblockPayee
from bank.v1.events_pb2 import PayeeBlocked, PayeeUnblocked, TransferScreened
from bennu.testing import given
from bennu.testing.given import Given

BLOCK, UNBLOCK = BlockPayee(payee="b", reason="known for it"), UnblockPayee(payee="b", reason="it was another")
BLOCKED, UNBLOCKED = PayeeBlocked(payee="b", reason="known for it"), PayeeUnblocked(payee="b", reason="it was another")
SCREEN = ScreenTransfer(payee="b", transfer="t", amount_minor=7, currency="EUR")
SCREENED = TransferScreened(payee="b", transfer="t", amount_minor=7, currency="EUR")


def payee(*history: Message) -> Given[Screening]:
    """A payee of whom these events happened."""
    return given(ScreeningRules, *history)


def test_a_transfer_to_somebody_unknown_is_let_through() -> None:
    """Nobody has said anything about the payee; that it was looked at is journaled."""
    payee().when(SCREEN).then(SCREENED).then_state(passed=1, blocked=False)


def test_no_transfer_goes_to_a_blocked_payee() -> None:
    """Until the payee is unblocked."""
    payee(BLOCKED).when(SCREEN).then_rejected("payee_blocked")
    payee(BLOCKED, UNBLOCKED).when(SCREEN).then(SCREENED)
    payee(SCREENED, BLOCKED).when(SCREEN).then_rejected("payee_blocked")


def test_why_a_payee_is_blocked_is_not_told_to_who_pays() -> None:
    """It is the staff's own affair."""
    assert "known for it" not in str(payee(BLOCKED).when(SCREEN).outcome)


def test_a_payee_is_blocked_once() -> None:
    """The first reason holds until the payee is unblocked."""
    payee().when(BLOCK).then(BLOCKED).then_replied(BLOCKED).then_state(blocked=True, reason="known for it")
    payee(BLOCKED).when(BLOCK).then_rejected("payee_already_blocked")
    payee(BLOCKED, UNBLOCKED).when(BLOCK).then(BLOCKED)


def test_only_a_blocked_payee_can_be_unblocked() -> None:
    """The reason is what was said last."""
    payee(BLOCKED).when(UNBLOCK).then(UNBLOCKED).then_state(blocked=False, reason="it was another")
    payee().when(UNBLOCK).then_rejected("payee_not_blocked")
    payee(BLOCKED, UNBLOCKED).when(UNBLOCK).then_rejected("payee_not_blocked")
