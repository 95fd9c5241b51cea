"""A bank whose transfers look twice before they deposit, and can't go on where the amount is 13."""

from bank.account import AccountRules
from bank.screening import ScreeningRules
from bank.transfer import TransferRules, deposit, reverse, withdraw
from bank.v1 import bank_pb2
from bank.v1.commands_pb2 import CompleteTransfer, FailTransfer
from bank.v1.events_pb2 import TransferRequested
from bennu.domain import App, Parallel, Retry, Saga, Step, Tcc

UNLUCKY_MINOR = 13


def is_lucky(asked: TransferRequested) -> bool:
    """Has a bug."""
    if asked.amount_minor == UNLUCKY_MINOR:
        raise ValueError("unlucky")
    return False


class CautiousTransfer(Saga[TransferRequested]):
    """Withdraw, look, deposit."""

    steps = (
        Step("withdraw", withdraw, compensation=reverse, timeout_ms=60_000),
        Step("look", withdraw, compensation=reverse, when=is_lucky),
        Step("deposit", deposit),
    )

    def key(self, trigger: TransferRequested) -> str:
        return trigger.transfer

    def completed(self, trigger: TransferRequested) -> CompleteTransfer:
        return CompleteTransfer(transfer=trigger.transfer)

    def failed(self, trigger: TransferRequested, reason: str) -> FailTransfer:
        return FailTransfer(transfer=trigger.transfer, reason=reason)


class Everything(Saga[TransferRequested]):
    """One of each, to be read."""

    version = 2
    service_level_ms = 90_000
    steps = (
        Parallel(
            Tcc("reserve", withdraw, confirm=deposit, cancel=reverse, timeout_ms=500),
            Step("look", withdraw, compensation=reverse, when=is_lucky, retry=Retry(limit=2, reasons=("busy", "full"))),
        ),
        Step("pay", deposit, pivot=True),
        Step("notify", deposit, retry=Retry(limit=1)),
    )

    def key(self, trigger: TransferRequested) -> str:
        return trigger.transfer


_service = bank_pb2.DESCRIPTOR.services_by_name["Bank"]
app = App("bank", service=_service, aggregates=(AccountRules, TransferRules, ScreeningRules), sagas=(CautiousTransfer,))
readable = App(
    "bank",
    service=_service,
    aggregates=(AccountRules, TransferRules, ScreeningRules),
    sagas=(CautiousTransfer, Everything),
)
