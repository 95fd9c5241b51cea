"""`bennu sagas plan`: a saga's declaration as a page, in Markdown."""

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bennu.cli.options import load
from bennu.errors import BadSettings

if TYPE_CHECKING:
    from bennu.domain.app import App
    from bennu.domain.plan import Plan, PlannedStep
    from bennu.domain.saga import Retry, Saga


NOTHING = "nothing"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def plan(
        app_name: Annotated[str, typer.Argument(metavar="APP", help="module:attribute, such as bank.app:app.")],
        saga: Annotated[str, typer.Argument(metavar="SAGA", help="Name of its class, with or without `Saga`.")],
        *,
        version: Annotated[int, typer.Option("--version", min=0, help="Of several; 0: the newest.")] = 0,
    ) -> None:
        """Print a saga's steps as a page: their order, groups, conditions, times and retries, and what undoes what."""
        typer.echo("\n".join(page(find(load(app_name), saga, version))))


def find(app: "App", name: str, version: int = 0) -> "Saga[Any]":
    """Raises `BadSettings`, with what there is."""
    named = [each for each in app.sagas if type(each).__qualname__ in (name, f"{name}Saga")]
    found = [each for each in named if version in (0, each.version)]
    if not found:
        there = ", ".join(f"{type(each).__qualname__} (version {each.version})" for each in app.sagas) or "none"
        raise BadSettings(f"app `{app.name}` has no such saga; there are: {there}")
    return max(found, key=lambda each: each.version)


def page(saga: "Saga[Any]") -> Iterator[str]:
    """Its lines."""
    from bennu.domain.messages import name_of
    from bennu.domain.plan import plan_of
    from bennu.domain.saga import trigger_of

    plan = plan_of(type(saga))
    yield f"# {type(saga).__qualname__}, version {saga.version}"
    if text := inspect.cleandoc(type(saga).__doc__ or ""):
        yield f"\n{text}"
    yield f"\nStarted by `{name_of(trigger_of(type(saga)))}`; shown as stuck after {_time(saga.service_level_ms)}.\n"
    yield "| # | step | asks for | after | only if | time limit | asked for again |"
    yield "|---|---|---|---|---|---|---|"
    for number, step in enumerate(plan, 1):
        cells = (str(number), f"`{step.name}`", _makes(step.command), _after(step, plan), _when(step, plan))
        yield _row(*cells, _time(step.timeout_ms) if step.timeout_ms else "none", _retries(step))
    yield from _turning_back(plan)
    yield from _events(plan)
    yield "\n## At the end\n"
    yield f"* All is carried out: {_tells(saga.completed)}"
    yield f"* All is undone: {_tells(saga.failed)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _makes(rule: Callable[..., Any]) -> str:
    """The commands that a rule may make, as it is annotated."""
    from google.protobuf.message import Message

    from bennu.domain.messages import name_of, returned_types
    from bennu.domain.plan import as_declared

    declared = as_declared(rule)
    if not (inspect.isfunction(declared) or inspect.ismethod(declared)):
        return "whatever its maker says"
    made = [f"`{name_of(each)}`" for each in returned_types(declared) if each is not Message]
    return " or ".join(made) or NOTHING


def _tells(rule: Callable[..., Any]) -> str:
    made = _makes(rule)
    return "nobody is told" if made == NOTHING else f"its initiator is told by {made}"


def _after(step: "PlannedStep", plan: "Plan") -> str:
    return ", ".join(f"`{plan[index].name}`" for index in step.after) or "the start"


def _when(step: "PlannedStep", plan: "Plan") -> str:
    from bennu.domain.plan import as_declared

    if step.confirms >= 0:
        return f"`{plan[step.confirms].name}` is carried out"
    if step.when is None:
        return "always"
    rule = as_declared(step.when)
    return f"`{getattr(rule, '__name__', repr(rule))}`"


def _retries(step: "PlannedStep") -> str:
    if step.forward_only:
        return f"{_retry(step.retry)}, then it is parked"
    if not step.retry.limit:
        return "never"
    reasons = " or ".join(f"`{reason}`" for reason in step.retry.reasons)
    return _retry(step.retry) + (f", if refused with {reasons}" if reasons else "")


def _retry(retry: "Retry") -> str:
    pauses = f"after {_time(retry.first_ms)}, then twice as long each time, up to {_time(retry.max_ms)}"
    return f"{retry.limit} times: {pauses}" if retry.limit > 1 else f"once: after {_time(retry.first_ms)}"


def _time(milliseconds: int) -> str:
    for unit, size in (("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds >= size and milliseconds % size == 0:
            return f"{milliseconds // size} {unit}"
    return f"{milliseconds} ms"


def _turning_back(plan: "Plan") -> Iterator[str]:
    """What undoes what, and until when."""
    yield "\n## Turning back\n"
    pivot = next((step.name for step in plan if step.pivot and not step.forward_only), "")
    if pivot:
        yield f"Until `{pivot}`, the pivot, is carried out, a step that is refused or not answered in time turns the"
        yield "saga back: what was carried out is undone, last first.  After it there is only forward.\n"
    else:
        yield "A step that is refused or not answered in time turns the saga back: what was carried out is undone, the"
        yield "last one first.\n"
    for step in plan:
        if not (step.forward_only or step.pivot):
            yield f"* `{step.name}`: {_undoing(step)}"


def _undoing(step: "PlannedStep") -> str:
    if step.compensation is None:
        return "changes nothing that would have to be undone"
    again = f"if that is refused it is asked for again {_retry(step.undo_retry)}, then the saga stands half undone"
    if not step.undo_retry.limit:
        again = "if that is refused the saga stands half undone"
    return f"undone by {_makes(step.compensation)}; {again}"


def _events(plan: "Plan") -> Iterator[str]:
    """Steps that are decided by events."""
    from bennu.domain.messages import name_of

    decided = [step for step in plan if step.success or step.refusal]
    if decided:
        yield "\n## Events\n"
    for step in decided:
        for words, events in (("is carried out", step.success), ("is refused", step.refusal)):
            if events:
                yield f"* `{step.name}` {words} by {' or '.join(f'`{name_of(each)}`' for each in events)}"
