"""Sagas of one partition, told signal by signal: what a reactor records, in a few words each."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import Message

from bank.account import AccountRules
from bank.transfer import TransferRules, TransferSaga, deposit, reverse, withdraw
from bank.v1 import bank_pb2
from bank.v1.commands_pb2 import CompleteTransfer, FailTransfer
from bank.v1.events_pb2 import TransferRequested
from bennu.domain import App, Saga, Step
from bennu.v1.saga_pb2 import (
    SagaCommandAnswered,
    SagaCommandIssued,
    SagaEnded,
    SagaInputPart,
    SagaRuleFailed,
    SagaStarted,
    SagaStatus,
    SagaTimerFired,
)
from bennu_saga.definitions import Definitions
from bennu_saga.fold import Record, SagaFold
from bennu_saga.reactor import Reactor
from bennu_saga.signals import Answer, Trigger

ASKED = TransferRequested(transfer="t", source="a", target="b", amount_minor=1, currency="EUR")
NOW_US = 1_000_000
LATER_US = NOW_US + 60_000_000
"""When a withdrawal of `TransferSaga` that was sent at `NOW_US` times out."""


def app_with(*sagas: type[Saga[Any]], upcasters: Sequence[Callable[[Any], Message]] = ()) -> App:
    """The bank with these sagas."""
    service = bank_pb2.DESCRIPTOR.services_by_name["Bank"]
    rules = (AccountRules, TransferRules)
    return App("bank", service=service, aggregates=rules, sagas=sagas, upcasters=upcasters)


def saga(*steps: Step, **rules: object) -> type[Saga[TransferRequested]]:
    """A saga `Told` of these steps, keyed by transfer, that tells the transfer of its end; `rules` replace its own."""
    own = {
        "key": lambda _self, asked: asked.transfer,
        "completed": lambda _self, asked: CompleteTransfer(transfer=asked.transfer),
        "failed": lambda _self, asked, reason: FailTransfer(transfer=asked.transfer, reason=reason),
    }
    return type("Told", (_OfTransfer,), {"steps": steps, "__qualname__": "Told", **own, **rules})


class _OfTransfer(Saga[TransferRequested]):
    """What starts it."""


WITHDRAW, DEPOSIT = Step("withdraw", withdraw, compensation=reverse, timeout_ms=60_000), Step("deposit", deposit)


def raises(*_anything: object) -> Message:
    """A rule that fails."""
    raise ValueError("no idea")


class Story:
    """One reactor and what it has recorded."""

    def __init__(self, *sagas: type[Saga[Any]], partitions: int = 1) -> None:
        self.definitions = Definitions(app_with(*(sagas or (TransferSaga,))))
        self.fold = SagaFold()
        self.reactor = Reactor(self.definitions, self.fold, partitions)
        self.records: list[Record] = []
        self._instances = 0

    def starts(self, asked: TransferRequested = ASKED, *, failure: str = "") -> list[str]:
        """An event starts what it starts; what was recorded."""
        self._instances += 1
        instance = f"0-{self._instances}"
        found: list[Record] = []
        for definition in self.definitions.by_trigger[asked.DESCRIPTOR.full_name]:
            name = f"{definition.name}:{f'?{instance}' if failure else definition.saga.key(asked)}"
            raw = asked.SerializeToString()
            found += self.reactor.start(
                Trigger(0, definition, name, instance, raw, "asked", "correlation", "trace", failure), NOW_US
            )
        return self._told(found)

    def accepts(self, command_id: str = "") -> list[str]:
        """The awaited command, or this one, was carried out; what was recorded."""
        answer = Answer(0, command_id or self.awaited, accepted=True, reason="")
        return self._told(self.reactor.answer(answer, NOW_US))

    def refuses(self, reason: str, command_id: str = "") -> list[str]:
        """The awaited command, or this one, was refused; what was recorded."""
        answer = Answer(0, command_id or self.awaited, accepted=False, reason=reason)
        return self._told(self.reactor.answer(answer, NOW_US))

    def times_out(self) -> list[str]:
        """The first timer fires; what was recorded."""
        timer = self.fold.next_timer()
        assert timer is not None, "no timer runs"
        assert timer[0] == LATER_US
        return self._told(self.reactor.fire(timer[1], LATER_US))

    @property
    def words(self) -> list[str]:
        """All that was recorded."""
        return [in_words(record) for record in self.records]

    @property
    def awaited(self) -> str:
        """Id of the one command that is waited for."""
        (command_id,) = self.fold.awaiting
        return command_id

    @property
    def noted(self) -> list[str]:
        """What an operator should hear of, so far."""
        return [note.kind for note in self.reactor.notes]

    def issued(self) -> SagaCommandIssued:
        """The newest command."""
        return [record for record in self.records if isinstance(record, SagaCommandIssued)][-1]

    def _told(self, records: Sequence[Record]) -> list[str]:
        self.records += records
        return [in_words(record) for record in records]


def in_words(record: Record) -> str:
    """A record in a few words."""
    if isinstance(record, SagaStarted):
        return f"started {record.saga_id}"
    if isinstance(record, SagaCommandIssued):
        return f"issued {record.command_id.rpartition(':')[2]} {record.type.rpartition('.')[2]}"
    if isinstance(record, SagaCommandAnswered):
        return "accepted" if record.accepted else f"refused: {record.reason}"
    if isinstance(record, SagaRuleFailed):
        return record.reason
    if isinstance(record, SagaEnded):
        status = SagaStatus.Name(record.status).removeprefix("SAGA_STATUS_").lower()
        return f"ended {status}: {record.reason}" if record.reason else f"ended {status}"
    assert isinstance(record, SagaTimerFired | SagaInputPart)
    return "timed out" if isinstance(record, SagaTimerFired) else "part"
