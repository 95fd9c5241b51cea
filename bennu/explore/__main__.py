"""`bennu explore bank.app:app Transfer`: all orders of events up to some faults, then a sample with more.

Exit code 0 only if nothing was wrong on any path.  A failure is a path: the events that led to it, in order.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from random import Random
from typing import Annotated

import typer

from bennu.cli.told import EXIT_FAILED, run_told
from bennu.domain.app import App
from bennu.errors import BadSettings
from bennu.explore.search import Explored
from bennu.explore.told import told
from bennu.explore.world import Model
from bennu.ops import logging
from bennu.ops.apps import load_app

ToldFailure = tuple[str, Sequence[str]]
"""What is wrong, and the path to it in words."""
SHOWN = 3
"""Failures that are printed, each with the simplest path to it."""


def explore(  # noqa: PLR0913  each is a flag
    *,
    app: Annotated[str, typer.Argument(help="As module:attribute, such as bank.app:app.")],
    scenario: Annotated[str, typer.Argument(help="One of the app's scenarios, such as Transfer.")],
    faults: Annotated[int, typer.Option(min=0, max=6, help="Every order with up to so many.")] = 2,
    seconds: Annotated[float, typer.Option(min=1, help="For these; what is not done then is said.")] = 120,
    samples: Annotated[int, typer.Option(min=0, help="Paths drawn by chance, with more faults.")] = 1_000,
    sample_faults: Annotated[int, typer.Option(min=0, max=100, help="Of each of them, up to so many.")] = 6,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 1,
    partitions: Annotated[int, typer.Option(min=1, max=8, help="Of the app.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Let a saga live through every order of events with faults."""
    logging.configure("error")
    model = _model(load_app(app), scenario, partitions)
    began_s = time.monotonic()
    found, failures = asyncio.run(_explored(model, faults, (samples, sample_faults, seed), until_s=began_s + seconds))
    _say(found, faults, sample_faults)
    _say_failures(found, failures)
    if as_json:
        figures = {
            "scenario": scenario,
            "faults": faults,
            "complete": found.complete,
            "worlds": found.worlds,
            "paths": found.paths,
            "samples": found.samples,
            "sample_faults": sample_faults,
            "seed": seed,
            "ends": dict(found.ends),
            "logs": [f"{place.app.name}-{place.number}" for place in found.model.places],
            "failures": [{"why": why, "path": path} for why, path in failures],
            "seconds": round(time.monotonic() - began_s, 1),
        }
        typer.echo(json.dumps(figures))
    if failures or not found.complete:
        raise typer.Exit(EXIT_FAILED)


def _model(app: App, scenario: str, partitions: int) -> Model:
    if scenario not in app.scenarios:
        known = ", ".join(app.scenarios) or "none: say scenarios=(…) when the app is made"
        raise BadSettings(f"app `{app.name}` has no scenario {scenario!r}; it has {known}")
    return Model(app, app.scenarios[scenario], partitions)


async def _explored(
    model: Model, faults: int, sample: tuple[int, int, int], *, until_s: float
) -> tuple[Explored, Sequence[ToldFailure]]:
    found, (count, sample_faults, seed) = Explored(model), sample
    found.all(faults, until_s)
    found.sample(count, sample_faults, chance=Random(seed), until_s=until_s)  # noqa: S311 - to be drawn again
    return found, [(why, told(model, path)) for why, path in found.failures]


def _say(found: Explored, faults: int, sample_faults: int) -> None:
    every = "every order" if found.complete else "NOT every order, for there was no time or too much was wrong,"
    typer.echo(f"{every} of events with up to {faults} faults: {found.worlds:,} states of affairs")
    typer.echo(f"and {found.samples:,} paths drawn by chance, with up to {sample_faults} faults each")
    typer.echo(", ".join(f"{count:,} {how}" for how, count in sorted(found.ends.items())))


def _say_failures(found: Explored, failures: Sequence[ToldFailure]) -> None:
    if failures:
        logs = (f"{number} of {place.app.name}-{place.number}" for number, place in enumerate(found.model.places))
        typer.echo(f"\nthe logs are {', '.join(logs)}")
    for path, alike in groupby(failures[:SHOWN], key=itemgetter(1)):
        typer.echo("".join(f"\nWRONG: {why}" for why, _ in alike))
        typer.echo("".join(f"    {event}\n" for event in path), nl=False)
    if len(failures) > SHOWN:
        typer.echo(f"\nand {len(failures) - SHOWN} more; all of them with --json")


def build() -> typer.Typer:
    """The command."""
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(explore)
    return command


if __name__ == "__main__":
    sys.exit(run_told(build, sys.argv[1:], name="bennu explore"))
