"""How a saga goes on, from its state and its plan alone."""

from collections.abc import Sequence
from typing import NamedTuple

from bennu.domain.plan import Plan
from bennu_saga.state import (
    BEHIND,
    CLOSING,
    COMPENSATED,
    COMPENSATING,
    COMPENSATION,
    COMPLETED,
    DONE,
    FORWARD,
    GIVEN_UP,
    READY,
    RUNNING,
    SagaState,
)


class Move(NamedTuple):
    """A command to be issued; with role 0, the end."""

    role: int
    step: int = 0


END = Move(0)


def next_moves(saga: SagaState, plan: Plan) -> Sequence[Move]:
    """The one place that says how a saga goes on; none: it waits for what is under way, or for an operator."""
    if saga.parked:
        return ()
    if saga.status == RUNNING:
        return _forward(saga, plan)
    if saga.status == COMPENSATING:
        return _back(saga, plan)
    return ()


def end_of(saga: SagaState) -> int:
    """The status that it ends in."""
    return COMPLETED if saga.status == RUNNING else COMPENSATED


def _forward(saga: SagaState, plan: Plan) -> Sequence[Move]:
    behind = {index for index, step in enumerate(saga.steps) if step.phase in BEHIND}
    moves = [
        Move(FORWARD, index)
        for index, step in enumerate(plan)
        if index not in behind and behind.issuperset(step.after) and saga.at(index).phase == READY
    ]
    if moves or not behind.issuperset(range(len(plan))):
        return moves
    return _close(saga, plan)


def _back(saga: SagaState, plan: Plan) -> Sequence[Move]:
    """What is under way is waited for first; then one after the other is undone, last first."""
    if saga.under_way(FORWARD) or saga.under_way(COMPENSATION):
        return ()
    for index in reversed(saga.order):
        step = saga.steps[index]
        undoing = step.role == COMPENSATION and step.phase == READY
        if plan[index].compensation is not None and (step.phase in (DONE, GIVEN_UP) or undoing):
            return (Move(COMPENSATION, index),)
    return _close(saga, plan)


def _close(saga: SagaState, plan: Plan) -> Sequence[Move]:
    if saga.told:
        return (END,)
    closing = saga.at(len(plan))
    return (Move(CLOSING, len(plan)),) if closing.phase == READY else ()
