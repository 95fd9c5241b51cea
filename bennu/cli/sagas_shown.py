"""Sagas, and what was decided about them, on a terminal."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from bennu.v1 import saga_admin_pb2 as pb

HEADINGS = ("saga", "standing", "started (UTC)", "at", "asked", "due (UTC)", "because")
STEP_HEADINGS = ("step", "phase", "role", "asked", "since (UTC)", "due (UTC)", "problem", "awaits")
MAX_CELL = 60
"""Characters of a cell; `show` has all of it."""


def print_json(message: "Message") -> None:
    """One object on a line."""
    from google.protobuf.json_format import MessageToDict

    plain = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    typer.echo(json.dumps(plain))


def print_list(sagas: "Iterable[pb.SagaSummary]") -> None:
    """One a line, the ones that started first before the others."""
    rows = [
        (
            saga.saga_id,
            standing(saga),
            clock(saga.started_at_us),
            " ".join(saga.steps),
            str(saga.attempts or ""),
            clock(saga.due_at_us),
            saga.reason,
        )
        for saga in sagas
    ]
    if not rows:
        typer.echo("no saga is under way or waits for an operator, of those that the filters let through", err=True)
        return
    print_table(HEADINGS, rows)


def standing(saga: "pb.SagaSummary") -> str:
    """In a word or two."""
    from bennu.v1.saga_admin_pb2 import SagaStanding

    word = SagaStanding.Name(saga.standing).removeprefix("SAGA_STANDING_").lower()
    return f"{word}, stuck" if saga.stuck else word


def print_view(view: "pb.SagaView") -> None:
    """All that is known of one."""
    saga = view.summary
    facts = {
        "": view.explanation,
        "definition": f"{saga.definition}, version {saga.version}; stuck after {view.service_level_ms / 1000:g} s",
        "standing": standing(saga),
        "started": f"{clock(saga.started_at_us)} UTC, by event {view.instance}",
        "event": f"{view.trigger_type} {view.trigger_json}",
        "remembers": view.data_json,
        "because": saga.reason,
        "trace": view.traceparent,
        "stands at": f"{view.position}, {clock(view.now_us)} UTC",
    }
    typer.echo(plain(saga.saga_id))
    for name, fact in facts.items():
        if fact:
            typer.echo(f"  {name + ': ' if name else ''}{plain(fact)}")
    typer.echo()
    print_table(STEP_HEADINGS, [_step(step) for step in view.steps], cut=False)


def _step(step: "pb.SagaStepView") -> tuple[str, ...]:
    from bennu.v1.saga_admin_pb2 import SagaStepPhase
    from bennu.v1.saga_pb2 import SagaCommandRole

    role = SagaCommandRole.Name(step.role).removeprefix("SAGA_COMMAND_ROLE_").lower() if step.role else ""
    return (
        step.name or "(the end)",
        SagaStepPhase.Name(step.phase).removeprefix("SAGA_STEP_PHASE_").lower(),
        role,
        str(step.attempts or ""),
        clock(step.since_us),
        clock(step.due_at_us),
        step.problem,
        f"{step.awaited} of {step.destination}" if step.awaited else "",
    )


def print_result(result: "pb.SagaResult") -> None:
    """What is done, would be, is not possible, or is not known."""
    from bennu.v1 import saga_admin_pb2 as pb

    words = {
        pb.SAGA_OUTCOME_DONE: "done",
        pb.SAGA_OUTCOME_WOULD_BE_DONE: "would be done",
        pb.SAGA_OUTCOME_REFUSED: "not possible",
        pb.SAGA_OUTCOME_UNKNOWN: "not known whether it is done",
    }
    where = f", at {result.position}" if result.position else ""
    typer.echo(f"{plain(result.saga_id)}: {words.get(result.outcome, 'unknown outcome')}: {plain(result.text)}{where}")


def clock(time_us: int) -> str:
    """Empty for none."""
    if time_us <= 1:
        return "at once" if time_us else ""
    return f"{datetime.fromtimestamp(time_us / 1_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def plain(text: str) -> str:
    """A terminal takes control characters for orders, and these are others' words."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, cut: bool = True) -> None:
    """In columns; what is longer than `MAX_CELL` is cut."""
    cells = [tuple(headings), *(tuple(_cell(text, cut=cut) for text in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    for row in cells:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _cell(text: str, *, cut: bool) -> str:
    shown = plain(text)
    return f"{shown[: MAX_CELL - 1]}…" if cut and len(shown) > MAX_CELL else shown
