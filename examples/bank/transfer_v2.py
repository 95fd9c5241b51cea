"""What carries a transfer out today: withdrawal, fee and fraud check at the same time, then the deposit.

    withdraw; charge the fee, if there is one; screen the payee, if it is large ──► deposit

Each of the first three may refuse, or not answer in time: then what was withdrawn is reversed, and the fee refunded.
So it is when the deposit is refused.  A small transfer is withdrawn and deposited, as in version 1.

What a transfer costs, and whether its payee is screened, its event says: so one that was asked for before there was
either goes on as it was asked for, and CServers of before get no commands that they do not know.
"""

from bank.transfer import deposit, reverse, withdraw
from bank.v1.commands_pb2 import ChargeFee, CompleteTransfer, FailTransfer, RefundFee, ScreenTransfer
from bank.v1.events_pb2 import TransferRequested
from bennu.domain import NOTHING, Parallel, Saga, Step

ANSWER_WITHIN_MS = 60_000


def charge(asked: TransferRequested) -> ChargeFee:
    """From the source to the bank."""
    return ChargeFee(
        account=asked.source, transfer=asked.transfer, amount_minor=asked.fee_minor, currency=asked.currency
    )


def refund(asked: TransferRequested) -> RefundFee:
    """From the bank, back to where it came from."""
    return RefundFee(
        account=asked.source, transfer=asked.transfer, amount_minor=asked.fee_minor, currency=asked.currency
    )


def screen(asked: TransferRequested) -> ScreenTransfer:
    """Whether the payee may have it."""
    return ScreenTransfer(
        payee=asked.target, transfer=asked.transfer, amount_minor=asked.amount_minor, currency=asked.currency
    )


def has_fee(asked: TransferRequested) -> bool:
    """Whether it costs anything."""
    return asked.fee_minor > 0


def is_screened(asked: TransferRequested) -> bool:
    """Whether the payee is looked at."""
    return asked.screened


class TransferSaga(Saga[TransferRequested]):
    """Withdraw, charge and screen; then deposit.  If one of them is refused, all of it goes back."""

    version = 2
    steps = (
        Parallel(
            Step("withdraw", withdraw, compensation=reverse, timeout_ms=ANSWER_WITHIN_MS),
            Step("fee", charge, compensation=refund, timeout_ms=ANSWER_WITHIN_MS, when=has_fee),
            Step("screening", screen, compensation=NOTHING, timeout_ms=ANSWER_WITHIN_MS, when=is_screened),
        ),
        Step("deposit", deposit),
    )

    def key(self, trigger: TransferRequested) -> str:
        return trigger.transfer

    def completed(self, trigger: TransferRequested) -> CompleteTransfer:
        return CompleteTransfer(transfer=trigger.transfer)

    def failed(self, trigger: TransferRequested, reason: str) -> FailTransfer:
        return FailTransfer(transfer=trigger.transfer, reason=reason)
