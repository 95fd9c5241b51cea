"""Projections and their generations on a terminal."""

import json
from collections.abc import Sequence

import typer

from bennu.cli.projections_desk import Row, Workers
from bennu.cli.sagas_shown import plain
from bennu.ops.generations import BUILDING, LIVE


def print_rows(rows: Sequence[Row], workers: Workers) -> None:
    """A line each, and what is wrong or waited for."""
    for row in rows:
        typer.echo(f"{plain(row.projection)}, generation {row.generation}: {_state(row, rows)}")
        facts = {
            "projected by": ", ".join(row.able(workers)) or "nobody: no QServer that lives declares it as it was made",
            "asked for": f"by {row.asked_by}: {row.reason}" if row.asked_by else "",
            "wished": row.wish or "",
            "waits" if waits(row) else "problem": row.problem or "",
        }
        for name, fact in facts.items():
            if fact:
                typer.echo(f"  {name}: {plain(fact)}")
    if not rows:
        typer.echo("no projection is known: QServer makes them when it starts first", err=True)


def print_json(rows: Sequence[Row], workers: Workers) -> None:
    """One object a generation, on a line."""
    for row in rows:
        typer.echo(json.dumps(row._asdict() | {"able": row.able(workers)}, default=str))


def _state(row: Row, rows: Sequence[Row]) -> str:
    words = [f"{row.state}, {row.events} events"]
    if row.state == BUILDING:
        words = [f"{row.state}, {progress(row, rows)}"]
    if row.paused_by is not None:
        words.append(f"paused by {plain(row.paused_by)}: {plain(row.paused_reason or '')}")
    return ", ".join(words)


def progress(row: Row, rows: Sequence[Row]) -> str:
    """How far it is on the way to the live one."""
    total = sum(each.events for each in rows if (each.projection, each.state) == (row.projection, LIVE))
    return f"{row.events} of {total} events ({min(row.events, total) * 100 // total if total else 100} %)"


def waits(row: Row) -> bool:
    """Whether QServer itself tries again, and its problem says only what it waits for."""
    return row.wish is not None and (row.problem or "").startswith(("switch: ", "drop: "))
