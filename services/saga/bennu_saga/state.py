"""The state of one saga, and what its records change in it: pure, so the leader, a follower and a replay agree."""

from collections.abc import Sequence

import msgspec

from bennu.v1.saga_pb2 import (
    SagaAnswerMeaning,
    SagaCommandAnswered,
    SagaCommandIssued,
    SagaCommandRole,
    SagaEventHeard,
    SagaOperated,
    SagaOperation,
    SagaParked,
    SagaRetryScheduled,
    SagaRuleFailed,
    SagaStarted,
    SagaStatus,
)
from bennu.wire.reasons import NOTHING_TO_COMPENSATE, TIMED_OUT, named

FORWARD, COMPENSATION, CLOSING = (
    SagaCommandRole.SAGA_COMMAND_ROLE_FORWARD,
    SagaCommandRole.SAGA_COMMAND_ROLE_COMPENSATION,
    SagaCommandRole.SAGA_COMMAND_ROLE_CLOSING,
)
RUNNING, COMPENSATING, COMPLETED, COMPENSATED, COMPENSATION_FAILED, RESOLVED = (
    SagaStatus.SAGA_STATUS_RUNNING,
    SagaStatus.SAGA_STATUS_COMPENSATING,
    SagaStatus.SAGA_STATUS_COMPLETED,
    SagaStatus.SAGA_STATUS_COMPENSATED,
    SagaStatus.SAGA_STATUS_COMPENSATION_FAILED,
    SagaStatus.SAGA_STATUS_RESOLVED,
)
AWAITS_EVENT, OPEN = (
    SagaAnswerMeaning.SAGA_ANSWER_MEANING_AWAITS_EVENT,
    SagaAnswerMeaning.SAGA_ANSWER_MEANING_OPEN,
)
RETRY, SKIP, COMPENSATE, RESOLVE = (
    SagaOperation.SAGA_OPERATION_RETRY,
    SagaOperation.SAGA_OPERATION_SKIP,
    SagaOperation.SAGA_OPERATION_COMPENSATE,
    SagaOperation.SAGA_OPERATION_RESOLVE,
)
READY, ASKED, RESTING, DONE, LEFT_OUT, NOT_DONE, GIVEN_UP, UNDONE = range(8)
"""Phases of a step: to be asked for (again), being asked for, waiting to be asked for again; then how it ended.
A compensation goes through the first three too, and ends in `UNDONE`."""
UNDER_WAY = (ASKED, RESTING)
BEHIND = (DONE, LEFT_OUT)
"""Phases of a step after which the next ones may begin."""

AT_ONCE = 1
"""Journaled time that is always past."""

STATE_VERSION = 3
"""Of `SagaState`: a snapshot of another one is passed over."""


class StepState(msgspec.Struct, gc=False, array_like=True):
    """How far a step is."""

    phase: int = READY
    role: int = FORWARD
    attempt: int = 0
    """How often the command of this role was asked for, the first time left out."""
    refusals: int = 0
    """How often it was refused, and that was not the end of it."""
    awaited: str = ""
    """Id of the command whose answer is waited for."""
    due_at_us: int = 0
    """Journaled time of its timer; 0: none."""
    given_up: str = ""
    """The forward command, if it was never answered: its compensation counts only if it was carried out."""
    destination: str = ""
    """The log that the command went to."""
    sent: tuple[str, bytes] | None = None
    """Type and payload of a command that may be asked for again, while it is waited for."""
    since_us: int = 0
    """Journaled time at which it was last asked for, or put to rest.  This and the next one are for people alone."""
    problem: str = ""
    """Why it was refused the last time, or that it was not answered."""


_UNTOUCHED = StepState()


class SagaState(msgspec.Struct, gc=False):
    """A saga between its start and its end."""

    definition: str
    version: int
    instance: str
    trigger_type: str
    trigger: bytes
    traceparent: str
    started_at_us: int = 0
    status: int = RUNNING
    steps: list[StepState] = []
    """By index in the plan; the closing command follows the last one."""
    order: tuple[int, ...] = ()
    """Steps that may have had an effect, in the order of their answers: undone from its end."""
    data: bytes = b""
    """The saga's own, as its rules left it; empty: nothing was heard."""
    told: bool = False
    """The closing command is answered."""
    parked: str = ""
    """Why it can't go on by itself."""
    parked_step: int = -1
    unheard: tuple[tuple[str, bytes], ...] = ()
    """Events, by type, that a rule raised at."""
    reason: str = ""
    """Why it is compensated, or its compensation failed."""
    stands_since_us: int = 0
    """Journaled time at which it was parked, or its compensation failed; for people alone."""

    def step_of(self, command_id: str) -> int:
        """Which step waits for this command.  Raises `KeyError`."""
        for index, step in enumerate(self.steps):
            if step.awaited == command_id:
                return index
        raise KeyError(command_id)

    def at(self, index: int) -> StepState:
        """This step, to be looked at."""
        return self.steps[index] if index < len(self.steps) else _UNTOUCHED

    def begin(self, index: int) -> StepState:
        """This step, to be changed."""
        while len(self.steps) <= index:
            self.steps.append(StepState())
        return self.steps[index]

    def under_way(self, role: int) -> bool:
        """Whether a command of this role is asked for, or about to be again."""
        return any(step.role == role and step.phase in UNDER_WAY for step in self.steps)


def started(record: SagaStarted) -> SagaState:
    """The state that a saga begins with."""
    return SagaState(
        definition=record.definition,
        version=record.version,
        instance=record.instance,
        trigger_type=record.trigger_type,
        trigger=record.trigger,
        traceparent=record.traceparent,
        started_at_us=record.started_at_us,
    )


def issued(saga: SagaState, record: SagaCommandIssued, destination: str) -> None:
    """The saga waits for this command's answer.  `destination` is the record's, as an object that many share."""
    step = saga.begin(record.step)
    if step.role != record.role:
        step.refusals, step.problem = 0, ""
    step.phase, step.role, step.attempt = ASKED, record.role, record.attempt
    step.awaited, step.due_at_us, step.destination = record.command_id, record.due_at_us, destination
    step.sent = (record.type, record.payload) if record.due_at_us else None


def answered(saga: SagaState, record: SagaCommandAnswered) -> Sequence[str]:
    """An awaited command was carried out, or refused; commands that are no longer waited for."""
    index = saga.step_of(record.command_id)
    step = saga.steps[index]
    saga.data = record.data or saga.data
    if record.meaning == AWAITS_EVENT:
        return ()
    step.awaited, step.problem = "", record.reason
    if record.meaning == OPEN:
        step.phase, step.due_at_us, step.sent = READY, 0, None
        step.refusals += 1
        return (record.command_id,)
    done = record.accepted or (step.role == COMPENSATION and record.reason == NOTHING_TO_COMPENSATE)
    return (record.command_id, *settle(saga, index, refused="" if done else record.reason or "refused"))


def heard(saga: SagaState, record: SagaEventHeard) -> Sequence[str]:
    """An event carried a step out, or refused it; commands that are no longer waited for."""
    step = saga.steps[record.step]
    saga.data = record.data or saga.data
    awaited, step.awaited, step.problem = step.awaited, "", record.reason
    return (awaited, *settle(saga, record.step, refused="" if record.accepted else record.reason or "refused"))


def rule_failed(saga: SagaState, record: SagaRuleFailed) -> Sequence[str]:
    """A command could not be made: as if it had been refused."""
    saga.begin(record.step).role = record.role
    return settle(saga, record.step, refused=record.reason)


def settle(saga: SagaState, index: int, *, refused: str) -> Sequence[str]:
    """A step's command was carried out, or, with a reason, was not; commands that are no longer waited for."""
    step = saga.steps[index]
    step.due_at_us, step.sent = 0, None
    if step.role == CLOSING:
        step.phase, saga.told = DONE, True
    elif step.role == FORWARD and not refused:
        step.phase = DONE
        saga.order = (*saga.order, index)
    elif step.role == FORWARD:
        step.phase = NOT_DONE
        return turn_back(saga, named(refused))
    elif not refused:
        step.phase = UNDONE
    else:
        step.phase, saga.status = READY, COMPENSATION_FAILED
        saga.reason = f"{saga.reason}; compensation of step {index}: {refused}"
    return ()


def turn_back(saga: SagaState, reason: str) -> Sequence[str]:
    """From here on it is compensated.  What rests is asked for no more; those commands are no longer waited for."""
    if saga.status != RUNNING:
        return ()
    saga.status, saga.reason = COMPENSATING, reason
    dropped = []
    for index, step in enumerate(saga.steps):
        if step.role == FORWARD and step.phase in (READY, RESTING):
            if step.awaited:
                dropped.append(step.awaited)
                give_up(saga, index)
            else:
                step.phase, step.due_at_us = NOT_DONE, 0
    return dropped


def give_up(saga: SagaState, index: int) -> None:
    """Nobody knows whether this step was carried out, and nobody waits for it any more."""
    step = saga.steps[index]
    step.phase, step.given_up = GIVEN_UP, step.awaited
    step.awaited, step.due_at_us, step.sent = "", 0, None
    saga.order = (*saga.order, index)


def timer_fired(saga: SagaState, command_id: str) -> Sequence[str]:
    """A forward command was not answered in time, for the last time; commands that are no longer waited for."""
    index = saga.step_of(command_id)
    saga.steps[index].problem = TIMED_OUT
    give_up(saga, index)
    return (command_id, *turn_back(saga, TIMED_OUT))


def rests(saga: SagaState, record: SagaRetryScheduled) -> None:
    """A command is asked for again later."""
    step = saga.steps[record.step]
    step.phase, step.due_at_us, step.problem = RESTING, record.due_at_us, record.reason


def parked(saga: SagaState, record: SagaParked) -> None:
    """It goes on when an operator says so."""
    saga.parked, saga.parked_step = record.reason, record.step
    saga.unheard += tuple(zip(record.event_types, record.events, strict=True))
    step = saga.at(record.step)
    if step.phase == RESTING and not step.awaited:
        step.phase, step.due_at_us = READY, 0


def left_out(saga: SagaState, index: int) -> None:
    """A step that is not for this saga."""
    saga.begin(index).phase = LEFT_OUT


def _skip(saga: SagaState, index: int) -> None:
    """Taken as done.  One that was asked for may have been, and is undone if it comes to that."""
    step = saga.begin(index)
    if step.role == COMPENSATION:
        step.phase = UNDONE
    elif step.awaited:
        give_up(saga, index)
        step.phase = DONE
    else:
        step.phase = LEFT_OUT
    step.awaited, step.due_at_us, step.sent = "", 0, None


def operated(saga: SagaState, record: SagaOperated) -> Sequence[str]:
    """An operator decided; commands that are no longer waited for."""
    stood = saga.at(saga.parked_step) if saga.parked_step >= 0 else _UNTOUCHED
    saga.parked, saga.parked_step, saga.unheard = "", -1, ()
    saga.data = record.data or saga.data
    dropped: list[str] = []
    if record.operation == RETRY and stood.phase == ASKED and stood.sent:
        stood.phase, stood.due_at_us = RESTING, AT_ONCE
    if record.operation == SKIP:
        dropped.append(saga.at(record.step).awaited)
        _skip(saga, record.step)
    if record.operation == COMPENSATE:
        for index, step in enumerate(saga.steps):
            if step.phase == ASKED and step.role == FORWARD:
                dropped.append(step.awaited)
                give_up(saga, index)
        dropped += turn_back(saga, record.reason)
    if saga.status == COMPENSATION_FAILED:
        saga.status = COMPENSATING
    return dropped
