"""Deciding for sagas: a signal comes in, records come out, and memory has evolved by them.

    event  → SagaStarted         → first commands
    answer → SagaCommandAnswered → next commands, next compensation, closing command, or the end
    event  → SagaEventHeard      → as an answer
    timer  → SagaRetryScheduled, or SagaTimerFired → compensation of the step that was given up
    rule that raises             → SagaParked, until an operator says how to go on

Nothing here waits, reads a clock or draws a random number.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
from google.protobuf.message import Message

from bennu.limits import MAX_COMMAND_BYTES
from bennu.v1.saga_pb2 import (
    SagaCommandAnswered,
    SagaCommandIssued,
    SagaCommandRole,
    SagaEnded,
    SagaEventHeard,
    SagaOperated,
    SagaParked,
    SagaRetryScheduled,
    SagaStarted,
    SagaStatus,
    SagaStepLeftOut,
    SagaTimerFired,
)
from bennu.wire.reasons import RULE_FAILED, TIMED_OUT
from bennu_saga.definitions import Definition, Definitions, RuleFailed, call_rule
from bennu_saga.fold import Record, SagaFold
from bennu_saga.issuing import Issuing
from bennu_saga.limits import MAX_DATA_BYTES
from bennu_saga.moves import END, Move, end_of, next_moves
from bennu_saga.operations import NotPossible, Operation, check_operation
from bennu_saga.signals import Answer, Heard, Trigger
from bennu_saga.state import (
    CLOSING,
    COMPENSATE,
    COMPENSATION,
    COMPENSATION_FAILED,
    FORWARD,
    RESOLVE,
    RESOLVED,
    RESTING,
    RETRY,
    UNDER_WAY,
    SagaState,
)
from bennu_saga.verdict import retry_due_us, retry_of, verdict_on


class Note(NamedTuple):
    """Something that an operator should hear of, once it is journaled."""

    kind: str
    saga_id: str
    reason: str


COMPENSATION_FAILURE, REFUSED_CLOSING, PARKED, DUPLICATE_START, TIME_OUT = (
    "compensation_failed",
    "closing_refused",
    "parked",
    "started_while_under_way",
    "step_timed_out",
)


class Reactor:
    """Decides for the sagas in `fold`.  Each call returns the records of one entry; none: nothing of ours."""

    def __init__(self, definitions: Definitions, fold: SagaFold, counts: Mapping[str, int]) -> None:
        """`counts`: how many partitions each app has."""
        self._definitions = definitions
        self._fold = fold
        self._issuing = Issuing(definitions, fold.outbox, counts)
        self.notes: list[Note] = []
        """Since somebody last took them."""

    def start(self, trigger: Trigger, now_us: int) -> list[Record]:
        """A starting event.  Nothing if a saga of this id is under way: its key says that they are the same."""
        self._fold.now_us = now_us
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
                started_at_us=now_us,
            )
        )
        if trigger.failure:  # its key could not be made
            records += self._take(SagaParked(saga_id=trigger.saga_id, reason=trigger.failure))
        return records + self._go_on(trigger.saga_id, trigger.command_id, now_us=now_us)

    def answer(self, answer: Answer, now_us: int) -> list[Record]:
        """A participant's answer.  Nothing if no saga waits for it: it comes late, or belongs to another partition."""
        self._fold.now_us = now_us
        saga_id = self._fold.awaiting.get(answer.command_id)
        if saga_id is None:
            return []
        saga = self._fold.sagas[saga_id]
        index = saga.step_of(answer.command_id)
        definition = self.definition_of(saga)
        verdict = verdict_on(answer, saga, definition.plan, index=index)
        if saga.steps[index].role == CLOSING and not answer.accepted:
            self.notes.append(Note(REFUSED_CLOSING, saga_id, answer.reason))
        events = () if answer.unknown else tuple(zip(answer.types, answer.events, strict=True))
        data, problem = self._told(saga_id, definition, events)
        record = SagaCommandAnswered(
            saga_id=saga_id,
            command_id=answer.command_id,
            accepted=verdict.accepted,
            reason=verdict.reason,
            meaning=verdict.meaning,
            data=data,
        )
        records = self._take(record)
        if verdict.retried:
            records += self._rest(saga_id, index, verdict.reason, now_us=now_us)
        if problem := problem or verdict.parked:
            records += self._park(saga_id, index, problem, events=(answer.types, answer.events))
        return records + self._go_on(saga_id, answer.command_id, now_us=now_us)

    def hear(self, heard: Heard, now_us: int) -> list[Record]:
        """An event that a step waits for.  Nothing if none does."""
        self._fold.now_us = now_us
        saga = self._fold.sagas.get(heard.saga_id)
        if saga is None or saga.version != heard.version:
            return []
        step = saga.at(heard.step)
        if step.role != FORWARD or step.phase not in UNDER_WAY:
            return []
        data, problem = self._told(heard.saga_id, self.definition_of(saga), [(heard.type_name, heard.event)])
        reason = "" if heard.accepted else heard.type_name.rpartition(".")[2]
        cause = step.awaited
        records = self._take(
            SagaEventHeard(
                saga_id=heard.saga_id,
                step=heard.step,
                accepted=heard.accepted,
                reason=reason,
                event_type=heard.type_name,
                data=data,
            )
        )
        if problem:
            records += self._park(heard.saga_id, heard.step, problem, events=((heard.type_name,), (heard.event,)))
        return records + self._go_on(heard.saga_id, cause, now_us=now_us)

    def fire(self, saga_id: str, index: int, now_us: int) -> list[Record]:
        """The timer of a step: its command is asked for again, or given up."""
        self._fold.now_us = now_us
        saga = self._fold.sagas[saga_id]
        step, plan = saga.steps[index], self.definition_of(saga).plan
        if step.phase == RESTING:
            return self._do(saga_id, Move(step.role, index), step.awaited, now_us=now_us)
        command_id = step.awaited
        self.notes.append(Note(TIME_OUT, saga_id, f"no answer to {command_id}"))
        if step.role == COMPENSATION or step.attempt - step.refusals < retry_of(saga, plan, index).limit:
            # One that undoes is never given up for want of an answer: unknown is not failed.
            return self._rest(saga_id, index, TIMED_OUT, now_us=now_us)
        if step.role == FORWARD and plan[index].forward_only:
            return self._park(saga_id, index, f"not answered, although asked for {step.attempt + 1} times")
        records = self._take(SagaTimerFired(saga_id=saga_id, command_id=command_id))
        return records + self._go_on(saga_id, command_id, now_us=now_us)

    def operate(self, saga_id: str, asked: Operation, now_us: int) -> list[Record]:
        """What an operator decided.  Raises `NotPossible`, and nothing was done."""
        self._fold.now_us = now_us
        saga = self._fold.sagas.get(saga_id)
        if saga is None:
            raise NotPossible(f"no saga {saga_id} is under way or stands in compensation_failed here")
        definition = self._definitions.get(saga.definition, saga.version)
        if definition is None:
            raise NotPossible(f"{saga.definition}, version {saga.version}, is not declared by this build")
        strange = [name for name, _ in saga.unheard if not self._definitions.knows(name)]
        if asked.operation == RETRY and strange:
            raise NotPossible(
                f"it holds {strange[0]}, which this build does not know: upgrade first, or decide by hand"
            )
        step = check_operation(asked, saga, definition.plan)
        if asked.operation == COMPENSATE:
            self._check_undone(saga, definition)
        data, problem = self._told(saga_id, definition, saga.unheard) if asked.operation == RETRY else (b"", "")
        if problem:
            raise NotPossible(f"a rule of the saga still fails: {problem}")
        records = self._take(
            SagaOperated(
                saga_id=saga_id,
                operation=asked.operation,
                step=step,
                actor=asked.actor,
                reason=asked.reason,
                data=data,
            )
        )
        if asked.operation == RESOLVE:
            return records + self._take(SagaEnded(saga_id=saga_id, status=RESOLVED, reason=asked.reason))
        return records + self._go_on(saga_id, "", now_us=now_us)

    def _check_undone(self, saga: SagaState, definition: Definition) -> None:
        """Raise `NotPossible` if a step is asked for whose compensation could overtake it: that would only park."""
        for index, step in enumerate(definition.plan):
            asked_for = saga.at(index).awaited and saga.at(index).role == FORWARD
            if asked_for and step.compensation and not self._issuing.undone_in_its_log(saga, definition, index):
                raise NotPossible(
                    f"step `{step.name}` is asked for, and its compensation goes to another log, where it may be "
                    "decided first: wait for the answer, or skip the step if you know what became of it"
                )

    def definition_of(self, saga: SagaState) -> Definition:
        """What it began with."""
        definition = self._definitions.get(saga.definition, saga.version)
        assert definition is not None, "checked before leading"
        return definition

    # --- what follows

    def _rest(self, saga_id: str, index: int, reason: str, *, now_us: int) -> list[Record]:
        saga = self._fold.sagas[saga_id]
        due_us = retry_due_us(saga_id, saga, self.definition_of(saga).plan, index=index, now_us=now_us)
        role = SagaCommandRole.ValueType(saga.steps[index].role)
        return self._take(SagaRetryScheduled(saga_id=saga_id, step=index, role=role, due_at_us=due_us, reason=reason))

    def _park(
        self, saga_id: str, index: int, reason: str, *, events: tuple[Sequence[str], Sequence[bytes]] = ((), ())
    ) -> list[Record]:
        role = SagaCommandRole.ValueType(self._fold.sagas[saga_id].at(index).role)
        return self._take(
            SagaParked(saga_id=saga_id, step=index, role=role, reason=reason, event_types=events[0], events=events[1])
        )

    def _told(self, saga_id: str, definition: Definition, events: Sequence[tuple[str, bytes]]) -> tuple[bytes, str]:
        """The data after these events, empty if none changed it; and why a rule raised at one."""
        mine: list[Message] = [self._definitions.event(*event) for event in events if self._definitions.knows(event[0])]
        mine = [event for event in mine if event.DESCRIPTOR.full_name in definition.hears]
        if not mine:
            return b"", ""
        try:
            data = definition.data(self._fold.sagas[saga_id].data)
            for event in mine:
                data = definition.after(data, event)
            raw: bytes = call_rule(partial(msgspec.msgpack.encode, data))
            too_much = f"{RULE_FAILED}: its data takes {len(raw)} bytes, {MAX_DATA_BYTES} at most"
            return (b"", too_much) if len(raw) > MAX_DATA_BYTES else (raw, "")
        except RuleFailed as failed:
            return b"", self._failed(saga_id, definition, failed)

    def _failed(self, saga_id: str, definition: Definition, failed: RuleFailed) -> str:
        """Say it, and give the reason that stands in the journal."""
        self._definitions.told_of(failed, definition=definition.name, saga_id=saga_id)
        return f"{RULE_FAILED}: {failed}"

    def _take(self, record: Record) -> list[Record]:
        if isinstance(record, SagaParked):
            self.notes.append(Note(PARKED, record.saga_id, record.reason))
        if isinstance(record, SagaEnded) and record.status == COMPENSATION_FAILED:
            self.notes.append(Note(COMPENSATION_FAILURE, record.saga_id, record.reason))
        self._fold.evolve(record)
        return [record]

    def _go_on(self, saga_id: str, cause: str, *, now_us: int) -> list[Record]:
        """What follows from the saga's state: commands, or the end.  A rule that fails parks it."""
        records: list[Record] = []
        saga = self._fold.sagas[saga_id]
        if saga.status == COMPENSATION_FAILED:
            # The initiator is not told: it would hear that all is undone.  An operator has to mend this one.
            return self._take(SagaEnded(saga_id=saga_id, status=SagaStatus.ValueType(saga.status), reason=saga.reason))
        while moves := next_moves(saga, self.definition_of(saga).plan):
            for move in moves:
                if not saga.parked and _payload_bytes(records) > MAX_COMMAND_BYTES:
                    records += self._park(saga_id, move.step, "its commands together are too large for one record")
                if not saga.parked:
                    records += self._do(saga_id, move, cause, now_us=now_us)
            if isinstance(records[-1], SagaEnded):
                break
        return records

    def _do(self, saga_id: str, move: Move, cause: str, *, now_us: int) -> list[Record]:
        saga = self._fold.sagas[saga_id]
        if move == END:
            return self._end(saga_id, saga)
        definition = self.definition_of(saga)
        try:
            if move.role == FORWARD and self._issuing.is_left_out(definition, saga, move.step):
                return self._take(SagaStepLeftOut(saga_id=saga_id, step=move.step))
            issued = self._issuing.command(saga_id, saga, definition, move=move)
        except RuleFailed as failed:
            return self._park(saga_id, move.step, self._failed(saga_id, definition, failed))
        if issued is None:  # only a closing command may be absent: nobody wants to hear
            return self._end(saga_id, saga)
        issued.causation_id = cause
        timeout_ms = definition.plan[move.step].timeout_ms if move.role != CLOSING else 0
        issued.due_at_us = now_us + timeout_ms * 1000 if timeout_ms else 0
        return self._take(issued)

    def _end(self, saga_id: str, saga: SagaState) -> list[Record]:
        status = SagaStatus.ValueType(end_of(saga))
        return self._take(SagaEnded(saga_id=saga_id, status=status, reason=saga.reason))


def _payload_bytes(records: Sequence[Record]) -> int:
    return sum(len(record.payload) for record in records if isinstance(record, SagaCommandIssued))
