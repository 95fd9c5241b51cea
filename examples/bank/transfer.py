"""A transfer: an aggregate that is asked for and ends, its tariff, and the saga that carried it out at first.

That saga, of version 1, ends what began with it; new transfers begin with the one in `bank.transfer_v2`.
"""

from typing import ClassVar

from bank.v1.commands_pb2 import (
    CompleteTransfer,
    DepositForTransfer,
    FailTransfer,
    ReverseWithdrawal,
    WithdrawForTransfer,
)
from bank.v1.commands_pb2 import Transfer as TransferCommand
from bank.v1.events_pb2 import TransferCompleted, TransferFailed, TransferRequested
from bank.v1.queries_pb2 import GetTransfer, TransferView
from bank.v1.types_pb2 import TransferStatus
from bennu.domain import Aggregate, Rejection, Saga, State, Step, answers, decides, evolves

NEVER, REQUESTED, COMPLETED, FAILED = (
    TransferStatus.TRANSFER_STATUS_UNSPECIFIED,
    TransferStatus.TRANSFER_STATUS_REQUESTED,
    TransferStatus.TRANSFER_STATUS_COMPLETED,
    TransferStatus.TRANSFER_STATUS_FAILED,
)


FREE_BELOW_MINOR = 500_000
"""A transfer of less costs nothing, in whatever currency; ..."""
FEE_PER_MILLE = 1
"""... of one of so much or more, the fee is so many thousandths, rounded down."""
SCREENED_FROM_MINOR = 1_000_000
"""The payee of a transfer of so much or more is looked at."""


class Transfer(State):
    """What was asked for, what it costs, and how far it got."""

    state_version: ClassVar[int] = 2
    status: int = NEVER
    source: str = ""
    target: str = ""
    amount_minor: int = 0
    currency: str = ""
    reason: str = ""
    fee_minor: int = 0


def fee_of(amount_minor: int) -> int:
    """What a transfer of so much costs today.  Its event says what it costs for ever, so the tariff may change."""
    return amount_minor * FEE_PER_MILLE // 1_000 if amount_minor >= FREE_BELOW_MINOR else 0


class TransferRules(Aggregate[Transfer]):
    """The life of a transfer as its initiator sees it."""

    @decides
    def request(self, state: Transfer, command: TransferCommand) -> TransferRequested | Rejection:
        if state.status != NEVER:
            return Rejection("transfer_exists", "a transfer of this name was already requested")
        if command.source == command.target:
            return Rejection("same_account", "source and target must differ")
        return TransferRequested(
            transfer=command.transfer,
            source=command.source,
            target=command.target,
            amount_minor=command.amount_minor,
            currency=command.currency,
            fee_minor=fee_of(command.amount_minor),
            screened=command.amount_minor >= SCREENED_FROM_MINOR,
        )

    @decides
    def complete(self, state: Transfer, command: CompleteTransfer) -> TransferCompleted | Rejection:
        if state.status != REQUESTED:
            return Rejection("transfer_not_running", "only a requested transfer can end")
        return TransferCompleted(transfer=command.transfer)

    @decides
    def fail(self, state: Transfer, command: FailTransfer) -> TransferFailed | Rejection:
        if state.status != REQUESTED:
            return Rejection("transfer_not_running", "only a requested transfer can end")
        return TransferFailed(transfer=command.transfer, reason=command.reason)

    @evolves
    def requested(self, state: Transfer, event: TransferRequested) -> None:
        state.status = REQUESTED
        state.source = event.source
        state.target = event.target
        state.amount_minor = event.amount_minor
        state.currency = event.currency
        state.fee_minor = event.fee_minor

    @evolves
    def completed(self, state: Transfer, event: TransferCompleted) -> None:
        state.status = COMPLETED

    @evolves
    def failed(self, state: Transfer, event: TransferFailed) -> None:
        state.status = FAILED
        state.reason = event.reason

    @answers
    def get(self, state: Transfer, query: GetTransfer) -> TransferView | Rejection:
        if state.status == NEVER:
            return Rejection("transfer_unknown", "no transfer was requested under this name")
        return TransferView(
            transfer=query.transfer,
            source=state.source,
            target=state.target,
            amount_minor=state.amount_minor,
            currency=state.currency,
            status=TransferStatus.ValueType(state.status),
            reason=state.reason,
            fee_minor=state.fee_minor,
        )


def withdraw(asked: TransferRequested) -> WithdrawForTransfer:
    """Into transit."""
    return WithdrawForTransfer(
        account=asked.source, transfer=asked.transfer, amount_minor=asked.amount_minor, currency=asked.currency
    )


def reverse(asked: TransferRequested) -> ReverseWithdrawal:
    """Out of transit, back to where it came from."""
    return ReverseWithdrawal(
        account=asked.source, transfer=asked.transfer, amount_minor=asked.amount_minor, currency=asked.currency
    )


def deposit(asked: TransferRequested) -> DepositForTransfer:
    """Out of transit, to the target."""
    return DepositForTransfer(
        account=asked.target, transfer=asked.transfer, amount_minor=asked.amount_minor, currency=asked.currency
    )


class TransferSaga(Saga[TransferRequested]):
    """Withdraw, then deposit; what a refused deposit leaves in transit goes back.  It knows no fees."""

    steps = (
        Step("withdraw", withdraw, compensation=reverse, timeout_ms=60_000),
        Step("deposit", deposit),
    )

    def key(self, trigger: TransferRequested) -> str:
        return trigger.transfer

    def completed(self, trigger: TransferRequested) -> CompleteTransfer:
        return CompleteTransfer(transfer=trigger.transfer)

    def failed(self, trigger: TransferRequested, reason: str) -> FailTransfer:
        return FailTransfer(transfer=trigger.transfer, reason=reason)
