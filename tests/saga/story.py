"""Sagas of one partition, told signal by signal: what a reactor records, in a few words each."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from bank.account import AccountRules
from bank.screening import ScreeningRules
from bank.transfer import TransferRules, TransferSaga, deposit, reverse, withdraw
from bank.v1 import bank_pb2
from bank.v1.commands_pb2 import CompleteTransfer, FailTransfer
from bank.v1.events_pb2 import TransferRequested
from bennu.domain import App, Retry, Saga, Step
from bennu.domain.plan import Plan
from bennu.domain.saga import Part
from bennu.testing.saga.run import SagaRun
from bennu.v1.saga_pb2 import (
    SagaCommandAnswered,
    SagaCommandIssued,
    SagaEnded,
    SagaEventHeard,
    SagaInputPart,
    SagaOperated,
    SagaOperation,
    SagaParked,
    SagaRetryScheduled,
    SagaStarted,
    SagaStatus,
    SagaStepLeftOut,
    SagaTimerFired,
)
from bennu_saga.definitions import Definitions
from bennu_saga.fold import Record
from bennu_saga.operations import Operation
from bennu_saga.signals import Answer, Trigger

ASKED = TransferRequested(transfer="t", source="a", target="b", amount_minor=1, currency="EUR")
NOW_US = 1_000_000
LATER_US = NOW_US + 60_000_000
"""When a withdrawal of `TransferSaga` that was sent at `NOW_US` times out."""


def app_with(*sagas: type[Saga[Any]], upcasters: Sequence[Callable[[Any], Message]] = ()) -> App:
    """The bank with these sagas."""
    service = bank_pb2.DESCRIPTOR.services_by_name["Bank"]
    rules = (AccountRules, TransferRules, ScreeningRules)
    return App("bank", service=service, aggregates=rules, sagas=sagas, upcasters=upcasters)


def saga(*steps: Part, **rules: object) -> type[Saga[TransferRequested]]:
    """A saga `Told` of these steps, keyed by transfer, that tells the transfer of its end; `rules` replace its own."""
    own = {
        "key": lambda _self, asked: asked.transfer,
        "completed": lambda _self, asked: CompleteTransfer(transfer=asked.transfer),
        "failed": lambda _self, asked, reason: FailTransfer(transfer=asked.transfer, reason=reason),
    }
    return type("Told", (_OfTransfer,), {"steps": steps, "__qualname__": "Told", **own, **rules})


NO_RETRY = Retry(limit=0)


class _OfTransfer(Saga[TransferRequested]):
    """What starts it."""


WITHDRAW, DEPOSIT = Step("withdraw", withdraw, compensation=reverse, timeout_ms=60_000), Step("deposit", deposit)


def impatient(step: Step) -> Step:
    """The same, whose compensation is asked for once."""
    return replace(step, undo_retry=NO_RETRY)


def raises(*_anything: object) -> Message:
    """A rule that fails."""
    raise ValueError("no idea")


def raises_instead(_asked: TransferRequested) -> bool:
    """A condition that fails."""
    raise ValueError("no idea")


class Story:
    """One reactor and what it has recorded."""

    def __init__(self, *sagas: type[Saga[Any]], partitions: int = 1) -> None:
        self._run = SagaRun(Definitions(app_with(*(sagas or (TransferSaga,)))), partitions=partitions, now_us=NOW_US)
        self.definitions, self.fold, self.reactor = self._run.definitions, self._run.fold, self._run.reactor
        self.records: list[Record] = []
        self.times_us: list[int] = []
        """Journaled time of each record."""
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
                Trigger(0, definition, name, instance, raw, "asked", "correlation", "trace", failure), self._run.now_us
            )
        return self._told(found)

    def accepts(self, command_id: str = "") -> list[str]:
        """The awaited command, or this one, was carried out; what was recorded."""
        return self._decided(command_id or self.awaited)

    def accepts_step(self, tail: str, *events: Message) -> list[str]:
        """The command whose id ends so was carried out, with these events; what was recorded."""
        return self._decided(self.waiting(tail), *events)

    def answers_strangely(self, tail: str, type_name: str) -> list[str]:
        """The command whose id ends so was carried out, with an event of a type that nobody knows."""
        answer = Answer(0, self.waiting(tail), True, "", (type_name,), (b"",), type_name)
        return self._told(self.reactor.answer(answer, self._run.now_us))

    def hears(self, event: Message) -> list[str]:
        """This event came by; what was recorded."""
        return self._decided("somebody's", event)

    def refuses_step(self, tail: str, reason: str) -> list[str]:
        """The command whose id ends so was refused; what was recorded."""
        return self._decided(self.waiting(tail), refused=reason)

    def waiting(self, tail: str) -> str:
        """The id of the awaited command that ends so."""
        (found,) = (command_id for command_id in self.fold.awaiting if command_id.endswith(f":{tail}"))
        return found

    def refuses(self, reason: str, command_id: str = "") -> list[str]:
        """The awaited command, or this one, was refused; what was recorded."""
        return self._decided(command_id or self.awaited, refused=reason)

    def times_out(self) -> list[str]:
        """The first timer fires, when it is due; what was recorded."""
        return self._told(self._run.fires())

    def operates(self, operation: SagaOperation.ValueType, step: str = "") -> list[str]:
        """An operator decides about the one saga; what was recorded."""
        (saga_id,) = self.fold.sagas
        asked = Operation(operation, "operator", "because", step)
        self._run.now_us = max(self._run.now_us, LATER_US)
        return self._told(self.reactor.operate(saga_id, asked, self._run.now_us))

    @property
    def words(self) -> list[str]:
        """All that was recorded."""
        return [in_words(record) for record in self.records]

    @property
    def plan(self) -> Plan:
        """Of the one saga."""
        ((definition,),) = self.definitions.by_trigger.values()
        return definition.plan

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

    def _decided(self, command_id: str, *events: Message, refused: str = "") -> list[str]:
        app = self.definitions.app
        return self._told(self._run.decided(app, events, command_id=command_id, refused=refused))

    def _told(self, records: Sequence[Record]) -> list[str]:
        self.records += records
        self.times_us += [self.fold.now_us] * len(records)
        return [in_words(record) for record in records]


def short(name: str) -> str:
    """A type's name without its package."""
    return name.rpartition(".")[2]


def in_words(record: Record) -> str:
    """A record in a few words."""
    return _WORDS[type(record)](record)


def _ended(record: SagaEnded) -> str:
    status = SagaStatus.Name(record.status).removeprefix("SAGA_STATUS_").lower()
    return f"ended {status}: {record.reason}" if record.reason else f"ended {status}"


def _operation(record: SagaOperated) -> str:
    return SagaOperation.Name(record.operation).removeprefix("SAGA_OPERATION_").lower()


_WORDS: dict[type, Callable[[Any], str]] = {
    SagaStarted: lambda record: f"started {record.saga_id}",
    SagaCommandIssued: lambda record: f"issued {record.command_id.rpartition(':')[2]} {short(record.type)}",
    SagaCommandAnswered: lambda record: "accepted" if record.accepted else f"refused: {record.reason}",
    SagaEventHeard: lambda record: f"heard {short(record.event_type)}",
    SagaRetryScheduled: lambda record: f"rests: {record.reason}",
    SagaTimerFired: lambda _record: "timed out",
    SagaStepLeftOut: lambda record: f"left out {record.step}",
    SagaParked: lambda record: f"parked: {record.reason}",
    SagaOperated: lambda record: f"operated {_operation(record)}",
    SagaEnded: _ended,
    SagaInputPart: lambda _record: "part",
}


def undoable(name: str, **rules: Any) -> Step:  # noqa: ANN401 - fields of a Step
    """A step with a compensation."""
    return Step(name, withdraw, compensation=reverse, **rules)


def started(*steps: Part, **rules: object) -> Story:
    """A saga of these steps, under way."""
    story = Story(saga(*steps, **rules))
    story.starts()
    return story


def tails(words: list[str]) -> list[str]:
    """Step and role of the commands among these."""
    return [word.split()[1] for word in words if word.startswith("issued")]
