"""What an operator may decide about a saga, and when."""

from typing import NamedTuple

from bennu.domain.plan import Plan
from bennu.errors import BennuError
from bennu.v1.saga_pb2 import SagaOperation
from bennu_saga.state import (
    ASKED,
    BEHIND,
    COMPENSATE,
    COMPENSATION_FAILED,
    DONE,
    RESTING,
    RETRY,
    RUNNING,
    SKIP,
    UNDONE,
    SagaState,
)


class NotPossible(BennuError):
    """The saga is not in a state for it; nothing was done."""


class Operation(NamedTuple):
    """An operator's decision.  `step` is a name, and of a skip only."""

    operation: SagaOperation.ValueType
    actor: str
    reason: str
    step: str = ""


def check_operation(asked: Operation, saga: SagaState, plan: Plan) -> int:
    """The index of the step that is meant, 0 if none is.  Raises `NotPossible`."""
    if asked.operation == RETRY and not (saga.parked or saga.status == COMPENSATION_FAILED):
        raise NotPossible("it is neither parked nor in compensation_failed: it goes on by itself")
    if asked.operation == COMPENSATE:
        _check_compensate(saga, plan)
    return _check_skip(asked, saga, plan) if asked.operation == SKIP else 0


def _check_compensate(saga: SagaState, plan: Plan) -> None:
    if saga.status != RUNNING:
        raise NotPossible("it is being compensated already")
    for index, step in enumerate(plan):
        if (step.pivot or step.forward_only) and saga.at(index).phase in (ASKED, RESTING, DONE):
            how = "carried out" if saga.at(index).phase == DONE else "asked for, and may be carried out"
            raise NotPossible(f"step `{step.name}` is {how}: from there it can only go forward")
    if saga.at(len(plan)).destination:
        raise NotPossible("it is over, and its initiator is being told")


def _check_skip(asked: Operation, saga: SagaState, plan: Plan) -> int:
    names = [step.name for step in plan]
    if asked.step not in names:
        raise NotPossible(f"it has no step `{asked.step}`; there are {', '.join(names)}")
    index = names.index(asked.step)
    phase = saga.at(index).phase
    if phase in (UNDONE, *(BEHIND if saga.status == RUNNING else ())):
        raise NotPossible(f"step `{asked.step}` is behind it already")
    if saga.status == RUNNING and any(saga.at(n).phase not in BEHIND for n in plan[index].after):
        raise NotPossible(f"step `{asked.step}` is not its turn yet")
    return index
