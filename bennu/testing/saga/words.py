"""A saga in one line."""

from collections.abc import Iterable

from bennu_saga.definitions import Definition
from bennu_saga.state import (
    ASKED,
    COMPENSATION,
    DONE,
    GIVEN_UP,
    LEFT_OUT,
    NOT_DONE,
    READY,
    RESTING,
    UNDONE,
    SagaState,
    StepState,
)


def in_words(word: str, reason: str) -> str:
    return f"{word} ({reason})" if reason else word


def steps_of(state: SagaState, definition: Definition) -> str:
    steps = zip(definition.plan, state.steps, strict=False)  # the closing command follows the last one
    return ", ".join(f"{planned.name} {_phase(step)}" for planned, step in steps) or "nothing was asked for"


def _phase(step: StepState) -> str:
    if step.role == COMPENSATION:
        return {READY: "not undone", ASKED: "being undone", RESTING: "undone later", UNDONE: "undone"}[step.phase]
    return {
        READY: "not begun",
        ASKED: "asked for",
        RESTING: "asked for again later",
        DONE: "done",
        LEFT_OUT: "left out",
        NOT_DONE: "not done",
        GIVEN_UP: "given up",
    }[step.phase]


def listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
