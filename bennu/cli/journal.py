"""`bennu journal dump | verify`: what a journal says, and whether it holds together."""

import asyncio
import json
from typing import TYPE_CHECKING, Annotated

import typer

from bennu.cli import topics
from bennu.cli.options import AsJson, LogUrl, load, open_log
from bennu.errors import BadSettings
from bennu.ops import topics as app_topics

if TYPE_CHECKING:
    from bennu.cli.journal_verify import Counts
    from bennu.domain.app import App

app = typer.Typer(help="Read journals: domains' and sagas'.", no_args_is_help=True)

MaybeApp = Annotated[
    str, typer.Option("--app", envvar="BENNU_APP", help="The app, such as bank.app:app: shows events as JSON.")
]
Topic = Annotated[str, typer.Option("--topic", help="The journal, such as bank-events-0.")]
MaybePartitions = Annotated[
    int, typer.Option("--partitions", min=0, max=1024, help="With --app alone: how many journals; 0 takes all found.")
]
From = Annotated[int, typer.Option("--from", min=0, help="First offset to print.")]
Limit = Annotated[int, typer.Option("--limit", min=0, help="Print at most so many records; 0 prints all.")]


@app.command()
def dump(  # noqa: PLR0913  each is a flag
    topic: Topic,
    *,
    log: LogUrl = "sqlite",
    app_name: MaybeApp = "",
    first: From = 0,
    limit: Limit = 0,
    as_json: AsJson = False,
) -> None:
    """Print the records of a journal: what each is, and its entries.  With --json one object a line.

    What a record is depends on all before it, so the journal is read from its beginning whatever --from says.
    """
    from rich.console import Console

    from bennu.cli.journal_dump import plain, show
    from bennu.replica.history import judged

    domain = load(app_name) if app_name else None
    console = Console(soft_wrap=True)

    async def work() -> None:
        printed = 0
        async with open_log(log) as opened:
            async for found in judged(opened, topic):
                if found.offset < first:
                    continue
                record = plain(found, domain)
                typer.echo(json.dumps(record)) if as_json else show(record, console)
                printed += 1
                if printed == limit:
                    return

    asyncio.run(work())


@app.command()
def verify(
    *,
    log: LogUrl = "sqlite",
    topic: Topic = "",
    app_name: MaybeApp = "",
    partitions: MaybePartitions = 0,
    as_json: AsJson = False,
) -> None:
    """Check one journal, or with --app all journals of an app: order, epochs, digest chain; with --app also the events,

    replayed by the app's rules, and the digests of state in the journal.  Exit code 70 names topic, offset and reason.
    """
    if not topic and not app_name:
        raise BadSettings("say which journals: --topic bank-events-0, or --app bank.app:app")
    domain = load(app_name) if app_name else None
    found = asyncio.run(_verify(log, topic, domain=domain, partitions=partitions))
    if as_json:
        typer.echo(json.dumps({"ok": True, "journals": [counts.as_dict() for counts in found]}))
    else:
        _show(found)


async def _verify(log: str, topic: str, *, domain: "App | None", partitions: int) -> "list[Counts]":
    from bennu.cli.journal_verify import verify as verify_one

    async with open_log(log) as opened:
        names = [topic] if topic else []
        if not topic and domain is not None:
            there = [
                found.name for found in await topics.find_all(opened, domain.name) if "-commands-" not in found.name
            ]
            wanted = [name for name in app_topics.names(domain.name, partitions) if "-events-" in name]
            names = [*wanted, *(name for name in there if name not in wanted and _below(name, partitions))]
        return [await verify_one(opened, name, domain) for name in names]


def _below(name: str, partitions: int) -> bool:
    return not partitions or int(name.rpartition("-")[2]) < partitions


def _show(found: "list[Counts]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Journals" if found else "No journal of this app is there")
    for index, heading in enumerate(found[0].as_dict() if found else ("topic",)):
        table.add_column(heading.replace("_", " "), justify="left" if index == 0 else "right", no_wrap=True)
    for counts in found:
        table.add_row(*(str(value) for value in counts.as_dict().values()))
    Console().print(table)
