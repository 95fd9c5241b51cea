"""Sagas in words: what one waits for, since when, and what happens next; and what a decision does to one."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from bennu.domain.messages import name_of
from bennu.domain.plan import Plan, PlannedStep
from bennu.ops.topics import app_of
from bennu.v1.saga_pb2 import SagaCommandIssued, SagaEnded, SagaParked, SagaStatus, SagaStepLeftOut
from bennu.wire.reasons import TIMED_OUT
from bennu_saga.definitions import Definition
from bennu_saga.fold import Record
from bennu_saga.operations import NotPossible, Operation, check_operation
from bennu_saga.state import (
    ASKED,
    AT_ONCE,
    CLOSING,
    COMPENSATE,
    COMPENSATION,
    COMPENSATION_FAILED,
    DONE,
    FORWARD,
    GIVEN_UP,
    READY,
    RESOLVE,
    RESTING,
    RETRY,
    RUNNING,
    SKIP,
    UNDER_WAY,
    SagaState,
    StepState,
)
from bennu_saga.verdict import retry_of


class Scene(NamedTuple):
    """A saga, its plan, and the journaled time at which it is looked at."""

    saga: SagaState
    plan: Plan
    now_us: int

    def at(self, time_us: int) -> str:
        """A time, with its date if it is not today's."""
        if time_us <= AT_ONCE:
            return "at once"
        then, now = (datetime.fromtimestamp(us / 1_000_000, UTC) for us in (time_us, self.now_us))
        return f"{then:%H:%M:%S} UTC" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M:%S} UTC"

    def since(self, time_us: int) -> str:
        """Nothing for what was journaled before such times were kept."""
        return f" since {self.at(time_us)}" if time_us else ""

    def name(self, index: int) -> str:
        """Of a step, as it stands in a sentence."""
        return f"step `{self.plan[index].name}`" if index < len(self.plan) else "the closing command"


def explain(saga_id: str, saga: SagaState, definition: Definition | None, *, now_us: int) -> str:
    """One sentence."""
    name = f"{saga.definition} {saga_id.partition(':')[2]}"
    scene = Scene(saga, definition.plan if definition else (), now_us)
    if saga.status == COMPENSATION_FAILED:
        return f"{name} {_half_undone(scene, declared=definition is not None)}."
    if saga.parked:
        return f"{name} {_parked(scene)}."
    under_way = [index for index, step in enumerate(saga.steps) if step.phase in UNDER_WAY]
    if len(under_way) > 1:
        return f"{name} {_several(scene, under_way)}."
    if not under_way:
        return f"{name} goes on at once."
    index = under_way[0]
    return f"{name} {_WAITS[saga.steps[index].role](scene, index)}."


# --- what needs an operator


def _half_undone(scene: Scene, *, declared: bool) -> str:
    saga = scene.saga
    failed = [n for n, step in enumerate(saga.steps) if step.role == COMPENSATION and step.phase == READY]
    blamed = (
        f"{_undoing(scene, failed[0])} {_went_wrong(saga.steps[failed[0]])}" if failed and declared else saga.reason
    )
    rest = _and(_to_undo(scene, but=failed)) if declared else ""
    more = f", and {rest} would have to be undone after it" if rest else ""
    if not declared:
        version = f"{saga.definition}, version {saga.version}"
        return f"stands half undone{scene.since(saga.stands_since_us)}: {blamed}; this build does not declare {version}"
    return (
        f"stands half undone{scene.since(saga.stands_since_us)}: {blamed}{more}; "
        f"nothing happens until an operator {_choices(scene)}"
    )


def _parked(scene: Scene) -> str:
    saga = scene.saga
    heard = [scene.name(n) for n, step in enumerate(saga.steps) if step.phase == ASKED]
    still = f", though the answer to {_and(heard)} is still heard" if heard else ""
    place = scene.name(max(0, saga.parked_step))
    return (
        f"is parked{scene.since(saga.stands_since_us)} at {place}: {saga.parked}; "
        f"nothing is sent or undone until an operator {_choices(scene)}{still}"
    )


def _choices(scene: Scene) -> str:
    """What an operator may decide now."""
    asked = [(RETRY, "", "retries it")]
    asked += [(SKIP, step.name, f"skips step `{step.name}`") for step in scene.plan]
    asked += [(COMPENSATE, "", "has it compensated"), (RESOLVE, "", "resolves it")]
    return _or([words for operation, step, words in asked if _possible(scene, Operation(operation, "", "", step))])


def _possible(scene: Scene, asked: Operation) -> bool:
    try:
        check_operation(asked, scene.saga, scene.plan)
    except NotPossible:
        return False
    if asked.operation != SKIP:
        return True
    index = [step.name for step in scene.plan].index(asked.step)
    return scene.saga.status == RUNNING or scene.saga.at(index).role == COMPENSATION


# --- what goes on by itself


def _several(scene: Scene, under_way: Sequence[int]) -> str:
    def each(index: int) -> str:
        step = scene.saga.steps[index]
        again = f", again at {scene.at(step.due_at_us)}" if step.due_at_us else ""
        return f"{scene.name(index)} ({_asked(step)}{scene.since(step.since_us)}{again})"

    waits = f"waits for the answers to {len(under_way)} commands: {_and([each(index) for index in under_way])}"
    if scene.saga.status == RUNNING:
        return f"{waits}; what comes after them begins as soon as they are carried out"
    return f"is being undone, because of {scene.saga.reason}, and {waits}; the rest is undone when these are known"


def _forward(scene: Scene, index: int) -> str:
    step, planned = scene.saga.steps[index], scene.plan[index]
    why = "" if scene.saga.status == RUNNING else f"is to be undone, because of {scene.saga.reason}, but first "
    if step.phase == RESTING:
        waits = (
            f"waits until {scene.at(step.due_at_us)} to ask again for {scene.name(index)}, which {_went_wrong(step)}"
        )
        return f"{why}{waits}; {_after_rest(scene, index)}"
    waits = f"waits{scene.since(step.since_us)} for {_awaited(step, planned)} ({_asked(step)})"
    return f"{why}{waits}; {_if_unanswered(scene, index)}"


def _awaited(step: StepState, planned: PlannedStep) -> str:
    if not planned.success:
        return f"{app_of(step.destination)}'s answer to step `{planned.name}`"
    events = _or([name_of(event) for event in (*planned.success, *planned.refusal)])
    return f"{events}, by which {app_of(step.destination)} decides step `{planned.name}`"


def _if_unanswered(scene: Scene, index: int) -> str:
    step = scene.saga.steps[index]
    if not step.due_at_us:
        return "it has no time limit, so nothing else happens until that comes"
    left = retry_of(scene.saga, scene.plan, index).limit - (step.attempt - step.refusals)
    by = f"if none comes by {scene.at(step.due_at_us)}"
    if left <= 0:
        return f"{by}, {_end(scene, index)}"
    return f"{by} it is asked for again, and after {_times(left, 'more time')} without an answer {_end(scene, index)}"


def _after_rest(scene: Scene, index: int) -> str:
    step = scene.saga.steps[index]
    limit = retry_of(scene.saga, scene.plan, index).limit
    left = limit - (step.attempt + 1 - step.refusals) if step.problem == TIMED_OUT else limit - step.refusals
    more = f"up to {_times(left, 'more time')} after that" if left > 0 else "that is the last time"
    return f"{more}, and if it comes to nothing {_end(scene, index)}"


def _end(scene: Scene, index: int) -> str:
    """What becomes of a step that is not answered."""
    if scene.plan[index].forward_only:
        return "it is parked for an operator"
    return "the step is given up and all is undone"


def _back(scene: Scene, index: int) -> str:
    step = scene.saga.steps[index]
    rest = _to_undo(scene, but=[index])
    then = f"{_and(rest)} {'is' if len(rest) == 1 else 'are'} undone next" if rest else "it is over after that"
    why = f"is being undone, because of {scene.saga.reason}, and waits"
    if step.phase == RESTING:
        left = scene.plan[index].undo_retry.limit + 1 - step.refusals
        after = f"after {_times(max(1, left), 'more refusal')} it stands in compensation_failed"
        if step.problem == TIMED_OUT:
            after = "as often as it takes"
        again = f"until {scene.at(step.due_at_us)} to ask again for {_undoing(scene, index)}, which {_went_wrong(step)}"
        return f"{why} {again}; {after}; {then}"
    awaited = f"{app_of(step.destination)}'s answer to {_undoing(scene, index)} ({_asked(step)})"
    until = "it has no time limit"
    if step.due_at_us:
        until = f"if none comes by {scene.at(step.due_at_us)} it is asked for again, as often as it takes"
    return f"{why}{scene.since(step.since_us)} for {awaited}; {until}; {then}"


def _closing(scene: Scene, index: int) -> str:
    step = scene.saga.steps[index]
    how = "is carried out" if scene.saga.status == RUNNING else f"is undone, because of {scene.saga.reason},"
    waits = f"waits{scene.since(step.since_us)} for {app_of(step.destination)}'s answer to the closing command"
    return f"{how} and {waits}, by which its initiator is told; it ends when that comes, however long it takes"


_WAITS: dict[int, Callable[[Scene, int], str]] = {FORWARD: _forward, COMPENSATION: _back, CLOSING: _closing}


# --- parts of sentences


def _undoing(scene: Scene, index: int) -> str:
    return f"the compensation of {scene.name(index)}"


def _went_wrong(step: StepState) -> str:
    how = "was not answered in time" if step.problem == TIMED_OUT else f"was refused with {step.problem or 'no reason'}"
    return f"{how} ({_asked(step)})"


def _asked(step: StepState) -> str:
    return f"asked for {_times(step.attempt + 1, 'time')}"


def _times(count: int, what: str) -> str:
    if what == "time" and count <= 2:
        return ("never", "once", "twice")[count]
    return f"{count} {what}" + ("" if count == 1 else "s")


def _to_undo(scene: Scene, *, but: Sequence[int]) -> list[str]:
    """Steps that are still to be undone, in that order."""
    saga, plan = scene.saga, scene.plan
    return [
        scene.name(index)
        for index in reversed(saga.order)
        if index not in but and plan[index].compensation is not None and saga.steps[index].phase in (DONE, GIVEN_UP)
    ]


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _or(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


# --- what a decision does


def in_words(records: Sequence[Record], plan: Plan) -> str:
    """What follows from a decision, by its records."""
    return "; ".join(_told(records, plan)) or "sends nothing: it goes on waiting"


def _told(records: Sequence[Record], plan: Plan) -> Iterator[str]:
    for record in records:
        if tell := _TELL.get(type(record)):
            yield tell(record, plan)


def _issued(record: SagaCommandIssued, plan: Plan) -> str:
    if record.role == CLOSING:
        return f"tells its initiator by {record.type}"
    name = plan[record.step].name
    what = f"step `{name}`" if record.role == FORWARD else f"the compensation of step `{name}`"
    return f"asks {app_of(record.destination)} for {what} by {record.type}"


def _ended(record: SagaEnded, _plan: Plan) -> str:
    return f"ends as {SagaStatus.Name(record.status).removeprefix('SAGA_STATUS_').lower()}"


_TELL: dict[type, Callable[..., str]] = {
    SagaCommandIssued: _issued,
    SagaEnded: _ended,
    SagaParked: lambda record, _plan: f"is parked again: {record.reason}",
    SagaStepLeftOut: lambda record, plan: f"leaves out step `{plan[record.step].name}`",
}
