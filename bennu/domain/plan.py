"""A saga's steps as a graph, and what is checked of them when an app is loaded.

Each planned step says which ones come before it; whatever has all of those behind it may begin.  So a sequence and a
parallel group are the same to whoever runs a saga.  A `Tcc` is two steps: the one that tries, compensated by `cancel`,
and one that confirms, which comes after the pivot or, without one, after everything else.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from bennu.domain.messages import name_of
from bennu.domain.saga import Correlate, Make, Nothing, Parallel, Part, Retry, Saga, Step, Tcc
from bennu.errors import BadSettings

AFTER_PIVOT = Retry(limit=10)
"""Of a step after the pivot that does not say how often it is asked for again."""


class PlannedStep(NamedTuple):
    """One command of a saga; its makers take the starting event and the saga's data."""

    name: str
    command: Callable[[Any, Any], Any]
    compensation: Callable[[Any, Any], Any] | None
    when: Callable[[Any, Any], Any] | None
    timeout_ms: int
    retry: Retry
    undo_retry: Retry
    after: tuple[int, ...]
    pivot: bool
    forward_only: bool
    success: Correlate
    refusal: Correlate
    confirms: int = -1
    """The step whose try this one confirms; it is left out if that was."""


Plan = tuple[PlannedStep, ...]


def plan_of(saga: type[Saga[Any]]) -> Plan:
    """The steps in the order of their declaration.  Raises `BadSettings` naming the saga and the step that is wrong."""
    where, parts = saga.__qualname__, saga.steps
    if not parts:
        raise BadSettings(f"{where}: a saga needs at least one step")
    drawing = _Drawing(where)
    after: tuple[int, ...] = ()
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        pivot = isinstance(part, Step) and (part.pivot or (last and not drawing.past and part.compensation is None))
        after = drawing.add(part, after, pivot=pivot)
        if pivot:
            after = drawing.pass_pivot(after)
    drawing.pass_pivot(after)
    plan = tuple(drawing.steps)
    _check(where, plan)
    return plan


def makers(plan: Plan) -> Sequence[Callable[..., Any]]:
    """Everything in it that makes a command, as it was declared."""
    return [as_declared(made) for step in plan for made in (step.command, step.compensation) if made is not None]


def as_declared(rule: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A planned step's rule as its author wrote it, with the annotations."""
    return rule.args[0] if isinstance(rule, partial) else rule


class _Drawing:
    def __init__(self, where: str) -> None:
        self.steps: list[PlannedStep] = []
        self.past = False
        """What is added comes after the pivot."""
        self._where = where
        self._to_confirm: list[tuple[Tcc, int]] = []

    def add(self, part: Part, after: tuple[int, ...], *, pivot: bool = False) -> tuple[int, ...]:
        """Draw a part behind these steps; the ones that whatever follows it comes behind."""
        if isinstance(part, Step):
            return self._add_step(part, after, pivot=pivot)
        if isinstance(part, Tcc):
            return self._add_try(part, after)
        if isinstance(part, Parallel):
            if not part.branches:
                raise BadSettings(f"{self._where}: a Parallel needs at least one branch")
            return tuple(end for branch in part.branches for end in self.add(branch, after))
        if isinstance(part, tuple) and part:  # type: ignore[redundant-expr]  # what is declared need not be what is typed
            for each in part:
                after = self.add(each, after)
            return after
        raise BadSettings(f"{self._where}: {part!r} is no Step, Tcc, Parallel, or sequence of them")

    def _add_step(self, step: Step, after: tuple[int, ...], *, pivot: bool) -> tuple[int, ...]:
        if step.pivot and not pivot:
            raise self._wrong(
                step.name, "a pivot stands by itself: it can't be in a Parallel or in a sequence within one"
            )
        if pivot and self.past:
            raise self._wrong(step.name, "there is one pivot, and it comes before this")
        if pivot and step.when is not None:
            raise self._wrong(step.name, "the pivot can't be left out, so it has no `when`")
        if self.past and step.refusal:
            raise self._wrong(step.name, "after the pivot there is only forward, so no event refuses it")
        if self.past and step.compensation is not None:
            raise self._wrong(step.name, "after the pivot there is only forward, so nothing compensates it")
        if step.compensation is None and step.timeout_ms and not self.past:
            raise self._wrong(step.name, "it may time out, so it needs a compensation")
        undo = None if isinstance(step.compensation, Nothing) or step.compensation is None else step.compensation
        if step.timeout_ms < 0:
            raise self._wrong(step.name, "timeout_ms is negative")
        self._check_retry(step.name, step.undo_retry, of_use=True)
        self._check_retry(step.name, step.retry, of_use=bool(self.past or step.timeout_ms or step.retry.reasons))
        self.steps.append(
            PlannedStep(
                name=step.name,
                command=_of_both(step.command),
                compensation=undo and _of_both(undo),
                when=step.when and _of_both(step.when),
                timeout_ms=step.timeout_ms,
                retry=step.retry if step.retry.limit or not self.past else AFTER_PIVOT,
                undo_retry=step.undo_retry,
                after=after,
                pivot=pivot or step.compensation is None,
                forward_only=self.past,
                success=step.success,
                refusal=step.refusal,
            )
        )
        return (len(self.steps) - 1,)

    def _add_try(self, tcc: Tcc, after: tuple[int, ...]) -> tuple[int, ...]:
        if self.past:
            raise self._wrong(tcc.name, "after the pivot there is only forward, so nothing can be tried there")
        self._to_confirm.append((tcc, len(self.steps)))
        step = Step(
            tcc.name,
            tcc.try_,
            compensation=tcc.cancel,
            timeout_ms=tcc.timeout_ms,
            retry=tcc.retry,
            undo_retry=tcc.undo_retry,
            when=tcc.when,
        )
        return self._add_step(step, after, pivot=False)

    def pass_pivot(self, after: tuple[int, ...]) -> tuple[int, ...]:
        """From here on there is only forward: what was tried is confirmed, all at the same time."""
        self.past = True
        tried, self._to_confirm = self._to_confirm, []
        for tcc, index in tried:
            self.add(Step(f"{tcc.name}.confirm", tcc.confirm, retry=tcc.confirm_retry), after)
            self.steps[-1] = self.steps[-1]._replace(confirms=index)
        return tuple(range(len(self.steps) - len(tried), len(self.steps))) or after

    def _check_retry(self, name: str, retry: Retry, *, of_use: bool) -> None:
        if retry.limit < 0 or retry.first_ms <= 0 or retry.max_ms < retry.first_ms:
            raise self._wrong(name, "a Retry has limit >= 0 and 0 < first_ms <= max_ms")
        if retry.limit and not of_use:
            raise self._wrong(name, "it is never asked for again: its Retry needs a timeout_ms, or reasons of refusal")

    def _wrong(self, name: str, why: str) -> BadSettings:
        return BadSettings(f"{self._where}: step `{name}`: {why}")


def _check(where: str, plan: Plan) -> None:
    names = [step.name for step in plan]
    if len(set(names)) != len(names):
        raise BadSettings(f"{where}: step names must differ, found {names}")
    failing = [step for step in plan if not step.forward_only]
    for step in failing:
        others = [other.name for other in failing if other is not step]
        last = step is failing[-1] and not _beside(plan, step)
        if step.pivot and others and not last:
            raise BadSettings(
                f"{where}: step `{step.name}` has no compensation, but step `{others[-1]}` may be refused; give it "
                "one, or NOTHING if it changes nothing, or put it after the pivot"
            )
    waiting: dict[str, str] = {}
    for step in plan:
        for name in map(name_of, (*step.success, *step.refusal)):
            if name in waiting:
                raise BadSettings(
                    f"{where}: {name} decides step `{waiting[name]}` and step `{step.name}`: one event would be taken "
                    "for the other, so each step, and its success and its refusal, need an event of their own"
                )
            waiting[name] = step.name


def before(plan: Plan, step: PlannedStep) -> set[int]:
    """All steps that this one comes after."""
    found: set[int] = set()
    todo = list(step.after)
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += plan[index].after
    return found


def _beside(plan: Plan, step: PlannedStep) -> bool:
    """Whether some step that may be refused is under way at the same time."""
    earlier = before(plan, step)
    return any(other is not step and not other.forward_only and n not in earlier for n, other in enumerate(plan))


def _of_both(rule: Make | Callable[..., bool]) -> Callable[[Any, Any], Any]:
    """The rule as one of event and data; most take the event alone."""
    try:
        parameters = inspect.signature(rule).parameters.values()
    except (TypeError, ValueError):  # some builtins do not say what they take
        return partial(_of_event, rule)
    wanted = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    return rule if len(wanted) > 1 else partial(_of_event, rule)


def _of_event(rule: Callable[..., Any], trigger: object, _data: object) -> Any:  # noqa: ANN401 - whatever the rule gives
    return rule(trigger)
