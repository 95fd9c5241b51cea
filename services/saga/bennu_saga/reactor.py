"""Deciding for sagas: a signal comes in, records come out, and memory has evolved by them.

    event  → SagaStarted         → first command
    answer → SagaCommandAnswered → next command, next compensation, closing command, or the end
    timer  → SagaTimerFired      → compensation of the step that was given up

Nothing here waits, reads a clock or draws a random number.
"""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from google.protobuf.message import Message

from bennu.domain.saga import COMMAND_ID_PREFIX
from bennu.limits import MAX_COMMAND_ID_BYTES
from bennu.v1.saga_pb2 import (
    SagaCommandAnswered,
    SagaCommandIssued,
    SagaCommandRole,
    SagaEnded,
    SagaRuleFailed,
    SagaStarted,
    SagaStatus,
    SagaTimerFired,
)
from bennu.wire.partitioning import partition_of
from bennu_saga.definitions import Definition, Definitions, RuleFailed
from bennu_saga.fold import Record, SagaFold
from bennu_saga.signals import Answer, Trigger
from bennu_saga.state import (
    CLOSING,
    COMPENSATED,
    COMPENSATION,
    COMPENSATION_FAILED,
    COMPLETED,
    FORWARD,
    RUNNING,
    Move,
    SagaState,
    next_move,
)

_LETTER = {FORWARD: "f", COMPENSATION: "c", CLOSING: "e"}


class Note(NamedTuple):
    """Something that an operator should hear of, once it is journaled."""

    kind: str
    saga_id: str
    reason: str


COMPENSATION_FAILURE, REFUSED_CLOSING, RULE_FAILURE, DUPLICATE_START, TIME_OUT = (
    "compensation_failed",
    "closing_refused",
    "rule_failed",
    "started_while_under_way",
    "step_timed_out",
)


class Reactor:
    """Decides for the sagas in `fold`.  Each call returns the records of one entry; none: nothing of ours."""

    def __init__(self, definitions: Definitions, fold: SagaFold, partitions: int) -> None:
        self._definitions = definitions
        self._fold = fold
        self._partitions = partitions
        self.notes: list[Note] = []
        """Since somebody last took them."""

    def start(self, trigger: Trigger, now_us: int) -> list[Record]:
        """A starting event.  Nothing if a saga of this id is under way: its key says that they are the same."""
        if trigger.saga_id in self._fold.sagas:
            self.notes.append(Note(DUPLICATE_START, trigger.saga_id, f"by event {trigger.instance}"))
            return []
        definition = trigger.definition
        records = self._take(
            SagaStarted(
                saga_id=trigger.saga_id,
                definition=definition.name,
                version=definition.version,
                trigger_type=definition.trigger_type,
                trigger=trigger.event,
                correlation_id=trigger.correlation_id,
                traceparent=trigger.traceparent,
                causation_id=trigger.command_id,
                instance=trigger.instance,
            )
        )
        if trigger.failure:  # its key could not be made; the initiator hears of it by `failed`
            role = SagaCommandRole.SAGA_COMMAND_ROLE_FORWARD
            records += self._take(SagaRuleFailed(saga_id=trigger.saga_id, role=role, reason=trigger.failure))
        return records + self._go_on(trigger.saga_id, trigger.command_id, now_us=now_us)

    def answer(self, answer: Answer, now_us: int) -> list[Record]:
        """A participant's answer.  Nothing if no saga waits for it: it comes late, or belongs to another partition."""
        saga_id = self._fold.awaiting.get(answer.command_id)
        if saga_id is None:
            return []
        record = SagaCommandAnswered(
            saga_id=saga_id, command_id=answer.command_id, accepted=answer.accepted, reason=answer.reason
        )
        if self._fold.sagas[saga_id].role == CLOSING and not answer.accepted:
            self.notes.append(Note(REFUSED_CLOSING, saga_id, answer.reason))
        return self._take(record) + self._go_on(saga_id, answer.command_id, now_us=now_us)

    def fire(self, command_id: str, now_us: int) -> list[Record]:
        """The timer of an awaited command."""
        saga_id = self._fold.awaiting[command_id]
        record = SagaTimerFired(saga_id=saga_id, command_id=command_id)
        self.notes.append(Note(TIME_OUT, saga_id, f"no answer to {command_id}"))
        return self._take(record) + self._go_on(saga_id, command_id, now_us=now_us)

    def _take(self, record: Record) -> list[Record]:
        if isinstance(record, SagaRuleFailed):
            self.notes.append(Note(RULE_FAILURE, record.saga_id, record.reason))
        if isinstance(record, SagaEnded) and record.status == COMPENSATION_FAILED:
            self.notes.append(Note(COMPENSATION_FAILURE, record.saga_id, record.reason))
        self._fold.evolve(record)
        return [record]

    def _go_on(self, saga_id: str, cause: str, *, now_us: int) -> list[Record]:
        """What follows from the saga's state: a command, or the end.  A rule that fails is as good as a refusal."""
        records: list[Record] = []
        while True:
            saga = self._fold.sagas[saga_id]
            definition = self._definitions.get(saga.definition, saga.version)
            assert definition is not None, "checked before leading"
            move = next_move(saga, len(definition.steps))
            record = self._do(saga_id, saga, definition, move=move)
            if isinstance(record, SagaCommandIssued):
                record.causation_id = cause
                record.due_at_us = now_us + timeout_us if (timeout_us := _timeout_us(definition, move)) else 0
            records += self._take(record)
            if not isinstance(record, SagaRuleFailed):
                return records

    def _do(self, saga_id: str, saga: SagaState, definition: Definition, *, move: Move) -> Record:
        ended = SagaEnded(saga_id=saga_id, status=SagaStatus.ValueType(move.status), reason=saga.reason)
        if not move.role:
            return ended
        try:
            issued = self._issued(saga_id, saga, definition, move=move)
        except RuleFailed as failed:
            role = SagaCommandRole.ValueType(move.role)
            return SagaRuleFailed(saga_id=saga_id, step=move.step, role=role, reason=f"rule_failed: {failed}")
        if issued is None:  # only a closing command may be absent: nobody wants to hear
            ended.status = SagaStatus.ValueType(COMPLETED if saga.status == RUNNING else COMPENSATED)
            return ended
        return issued

    def _issued(self, saga_id: str, saga: SagaState, definition: Definition, *, move: Move) -> SagaCommandIssued | None:
        """The command, numbered.  Raises `RuleFailed`."""
        trigger = self._definitions.event(saga.trigger_type, saga.trigger)
        made = self._definitions.command(_maker(definition, saga, move, trigger=trigger))
        if made is None:
            if move.role != CLOSING:
                raise RuleFailed(f"step `{definition.steps[move.step].name}` makes no command")
            return None
        rule, message, payload = made
        destination = self._destination(rule.key(message))
        record = SagaCommandIssued(
            saga_id=saga_id,
            step=move.step,
            role=SagaCommandRole.ValueType(move.role),
            destination=destination,
            no=self._fold.outbox.box(destination).last_no + 1,
            command_id=command_id_of(saga_id, saga.instance, move),
            type=rule.type_name,
            payload=payload,
        )
        if move.role == COMPENSATION and move.step == saga.timed_out_step:
            self._check_place(definition, trigger, record)
            record.compensates = saga.timed_out
        return record

    def _destination(self, key: str) -> str:
        return f"{self._definitions.app.name}-commands-{partition_of(key, self._partitions)}"

    def _check_place(self, definition: Definition, trigger: Message, record: SagaCommandIssued) -> None:
        """Only the log that holds the forward command makes sure that it is decided before its compensation."""
        forward = self._definitions.command(partial(definition.steps[record.step].command, trigger))
        assert forward is not None, "it was sent"
        if self._destination(forward[0].key(forward[1])) != record.destination:
            name = definition.steps[record.step].name
            raise RuleFailed(f"step `{name}` may time out, so its compensation must have the key of its command")


def _maker(definition: Definition, saga: SagaState, move: Move, *, trigger: Message) -> Callable[[], Message | None]:
    if move.role == FORWARD:
        return partial(definition.steps[move.step].command, trigger)
    if move.role == COMPENSATION:
        compensation = definition.steps[move.step].compensation
        assert compensation is not None, "check_steps: a step that can be followed or time out has one"
        return partial(compensation, trigger)
    if saga.status == RUNNING:
        return partial(definition.saga.completed, trigger)
    return partial(definition.saga.failed, trigger, saga.reason)


def _timeout_us(definition: Definition, move: Move) -> int:
    return definition.steps[move.step].timeout_ms * 1000 if move.role == FORWARD else 0


def command_id_of(saga_id: str, instance: str, move: Move) -> str:
    """The id that follows from saga and step; the same one whoever computes it."""
    tail = f":{instance}:{move.step}{_LETTER[SagaCommandRole.ValueType(move.role)]}"
    found = f"{COMMAND_ID_PREFIX}{saga_id}{tail}"
    if len(found.encode()) <= MAX_COMMAND_ID_BYTES:
        return found
    return f"{COMMAND_ID_PREFIX}{hashlib.blake2b(saga_id.encode(), digest_size=12).hexdigest()}{tail}"
