"""`bennu topics create | list`: the logs of an app."""

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple

import typer

from bennu.cli.options import MAX_PARTITIONS, AppName, AsJson, Config, LogUrl, Partitions, load, open_log
from bennu.errors import TopicMissing
from bennu.ops import topics

if TYPE_CHECKING:
    from bennu.log.port import Log

app = typer.Typer(help="The logs of an app: journals, command logs, saga journals.", no_args_is_help=True)


MISSING_IN_A_ROW = 16
"""Partitions are numbered without a gap; after so many that are not there nobody looks for more."""


class Topic(NamedTuple):
    """A topic that exists, with its first offset kept and the next to be written."""

    name: str
    first: int
    next: int


async def create_all(log: "Log", app_name: str, partitions: int) -> list[Topic]:
    """Make what is missing; all of them as they are then."""
    created = await topics.create_all(log, app_name, partitions)
    return [Topic(name, *await log.bounds(name)) for name in created]


async def find_all(log: "Log", app_name: str) -> list[Topic]:
    """The app's topics that exist: also those behind some that were lost."""
    found = await _find(log, topics.members(app_name))
    missing = 0
    for number in range(MAX_PARTITIONS):
        before = len(found)
        for kind in topics.KINDS:
            found.extend(await _find(log, f"{app_name}-{kind}-{number}"))
        missing = missing + 1 if len(found) == before else 0
        if missing == MISSING_IN_A_ROW:
            break
    return found


async def _find(log: "Log", name: str) -> list[Topic]:
    try:
        return [Topic(name, *await log.bounds(name))]
    except TopicMissing:
        return []


@app.command()
def create(
    app_name: AppName,
    *,
    log: LogUrl = "sqlite",
    partitions: Partitions = 1,
    config: Config = "",
    as_json: AsJson = False,
) -> None:
    """Make the topics of an app that are not there yet, and print all of them."""

    async def work() -> list[Topic]:
        async with open_log(log, config) as opened:
            return await create_all(opened, load(app_name).name, partitions)

    show(asyncio.run(work()), as_json=as_json)


@app.command("list")
def list_topics(app_name: AppName, *, log: LogUrl = "sqlite", config: Config = "", as_json: AsJson = False) -> None:
    """Print the topics of an app that are there."""

    async def work() -> list[Topic]:
        async with open_log(log, config) as opened:
            return await find_all(opened, load(app_name).name)

    show(asyncio.run(work()), as_json=as_json)


def show(found: list[Topic], *, as_json: bool) -> None:
    """Print them, for a person or for a program."""
    if as_json:
        typer.echo(json.dumps([topic._asdict() for topic in found]))
        return
    for topic in found:
        offsets = f", offsets {topic.first} to {topic.next - 1}" if topic.first < topic.next else ""
        typer.echo(f"{topic.name:32} records {topic.next - topic.first}{offsets}")
    if not found:
        typer.echo("no topic of this app is there: make them with `bennu topics create`")
