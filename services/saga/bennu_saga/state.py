"""The state of one saga, and what follows from it: pure, so the leader, a follower and a replay agree."""

from typing import NamedTuple

import msgspec

from bennu.v1.saga_pb2 import (
    SagaCommandAnswered,
    SagaCommandIssued,
    SagaCommandRole,
    SagaRuleFailed,
    SagaStarted,
    SagaStatus,
)

FORWARD, COMPENSATION, CLOSING = (
    SagaCommandRole.SAGA_COMMAND_ROLE_FORWARD,
    SagaCommandRole.SAGA_COMMAND_ROLE_COMPENSATION,
    SagaCommandRole.SAGA_COMMAND_ROLE_CLOSING,
)
RUNNING, COMPENSATING, COMPLETED, COMPENSATED, COMPENSATION_FAILED = (
    SagaStatus.SAGA_STATUS_RUNNING,
    SagaStatus.SAGA_STATUS_COMPENSATING,
    SagaStatus.SAGA_STATUS_COMPLETED,
    SagaStatus.SAGA_STATUS_COMPENSATED,
    SagaStatus.SAGA_STATUS_COMPENSATION_FAILED,
)
NOTHING_TO_COMPENSATE = "nothing_to_compensate"
"""CServer's rejection of a compensation whose forward command was not carried out: as good as compensated."""

TIMED_OUT = "step_timed_out"

STATE_VERSION = 1
"""Of `SagaState`: a snapshot of another one is passed over."""


class SagaState(msgspec.Struct, gc=False):
    """A saga between its start and its end."""

    definition: str
    version: int
    instance: str
    trigger_type: str
    trigger: bytes
    traceparent: str
    status: int = RUNNING
    awaited: str = ""
    """Id of the command whose answer comes next."""
    role: int = 0
    step: int = 0
    due_at_us: int = 0
    completed: tuple[int, ...] = ()
    """Steps carried out, in that order."""
    undo: tuple[int, ...] = ()
    """Steps to be compensated, in that order."""
    timed_out: str = ""
    """The forward command that was given up: its compensation counts only if it was carried out."""
    timed_out_step: int = -1
    told: bool = False
    """The closing command is answered, or could not be made."""
    reason: str = ""


class Move(NamedTuple):
    """What a saga does next: issue a command, or, with role 0, end in `status`."""

    role: int
    step: int
    status: int


def next_move(saga: SagaState, steps: int) -> Move:
    """The one place that says how a saga goes on."""
    if saga.status == COMPENSATION_FAILED:
        # The initiator is not told: it would hear that all is undone.  An operator has to mend this one.
        return Move(0, 0, COMPENSATION_FAILED)
    if saga.status == RUNNING and len(saga.completed) < steps:
        return Move(FORWARD, len(saga.completed), RUNNING)
    if saga.status == COMPENSATING and saga.undo:
        return Move(COMPENSATION, saga.undo[0], COMPENSATING)
    if saga.told:
        return Move(0, 0, COMPLETED if saga.status == RUNNING else COMPENSATED)
    return Move(CLOSING, steps, saga.status)


def started(record: SagaStarted) -> SagaState:
    """The state that a saga begins with."""
    return SagaState(
        definition=record.definition,
        version=record.version,
        instance=record.instance,
        trigger_type=record.trigger_type,
        trigger=record.trigger,
        traceparent=record.traceparent,
    )


def issued(saga: SagaState, record: SagaCommandIssued) -> None:
    """The saga waits for this command's answer."""
    saga.awaited, saga.role, saga.step = record.command_id, record.role, record.step
    saga.due_at_us = record.due_at_us


def answered(saga: SagaState, record: SagaCommandAnswered) -> None:
    """The awaited command was carried out, or refused."""
    done = record.accepted or (saga.role == COMPENSATION and record.reason == NOTHING_TO_COMPENSATE)
    settle(saga, saga.role, saga.step, refused="" if done else record.reason or "refused")


def rule_failed(saga: SagaState, record: SagaRuleFailed) -> None:
    """The next command could not be made: as if it had been refused."""
    settle(saga, record.role, record.step, refused=record.reason)


def settle(saga: SagaState, role: int, step: int, *, refused: str) -> None:
    """The command of this role and step was carried out, or, with a reason, was not."""
    saga.awaited, saga.due_at_us = "", 0
    if role == CLOSING:
        saga.told = True
    elif role == FORWARD and not refused:
        saga.completed = (*saga.completed, step)
    elif role == FORWARD:
        saga.status, saga.reason = COMPENSATING, refused
        saga.undo = saga.completed[::-1]
    elif not refused:
        saga.undo = saga.undo[1:]
    else:
        saga.status, saga.reason = COMPENSATION_FAILED, f"{saga.reason}; compensation of step {step}: {refused}"


def timer_fired(saga: SagaState) -> None:
    """The awaited step is given up: it and the ones before it are compensated."""
    saga.timed_out, saga.timed_out_step = saga.awaited, saga.step
    saga.status, saga.reason = COMPENSATING, TIMED_OUT
    saga.undo = (saga.step, *saga.completed[::-1])
    saga.awaited, saga.due_at_us = "", 0
