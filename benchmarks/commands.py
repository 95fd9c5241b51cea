"""Durable commands a second, beside everything a Python team could pick instead, in one run: `bennu bench commands`.

Deposits to a thousand accounts of the bank, every one fsynced before it is answered.  Bennu on both of its logs: by
the stream, by typed calls, and at fixed rates; Postgres by hand and by the library `eventsourcing`; RocketMQ's own
benchmark; and three ceilings: a bare loop, a bare echo, a bare fdatasync.  `benchmarks/contest` has each of them.
"""

import json
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.contest.entrants import chosen, everybody
from benchmarks.contest.machine import machine
from benchmarks.contest.rounds import Figures, compete
from benchmarks.contest.verdict import verdict
from benchmarks.serving import bench_folder
from bennu.ops.interpreter import settle

WIDTH = 140
COLUMNS = ("commands_per_second", "p50_ms", "p99_ms", "p999_ms", "server_cpu_us_per_command", "refused", "rounds")


def measure(
    *,
    only: Annotated[list[str] | None, typer.Option(help="Names, such as 'bennu/*/stream/*'; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="In each, everybody is measured once.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.2, max=60, help="Of each measurement, about.")] = 1.5,
    names: Annotated[bool, typer.Option("--list", help="Print all names, and measure nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Durable commands a second and milliseconds, Bennu's and everybody else's; medians of the rounds."""
    if names:
        typer.echo("\n".join(each.name for each in everybody()))
        return
    entrants = chosen(only or [])
    settle()  # a pause of this process would be taken for the servers'
    with bench_folder() as folder:
        found = uvloop.run(
            compete(entrants, folder, rounds=rounds, seconds=seconds, say=lambda text: typer.echo(text, err=True))
        )
    told = verdict(found)
    _show(found, f"median of {rounds} rounds of about {seconds} s each")
    for name, value in told.items():
        typer.echo(f"{name.replace('_', ' '):36} {'not measured' if value is None else value}")
    if as_json:
        run = {"machine": machine(), "settings": {"rounds": rounds, "seconds": seconds}, "entrants": found}
        typer.echo(json.dumps(told | run))


def _show(found: dict[str, Figures], title: str) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("who")
    for heading in COLUMNS:
        table.add_column(heading.replace("_", " "), justify="right")
    for name, row in found.items():
        shown = (row.get(column, "") for column in COLUMNS)
        table.add_row(name, *(f"{value:,}" if isinstance(value, int) else str(value) for value in shown))
    Console(width=WIDTH).print(table)
