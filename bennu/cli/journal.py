"""`bennu journal dump | verify | export`: what a journal says, whether it holds together, and a history for tests."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bennu.cli.options import MAX_PARTITIONS, AppName, AsJson, Config, LogUrl, load, open_log
from bennu.errors import BadSettings, Final, UnknownToBuild
from bennu.ops.sources import SHORT_LOGS

if TYPE_CHECKING:
    from bennu.cli.journal_verify import Counts

app = typer.Typer(help="Read journals: domains' and sagas'.", no_args_is_help=True)

MaybeApp = Annotated[
    str, typer.Option("--app", envvar="BENNU_APP", help="The app, such as bank.app:app: shows events as JSON.")
]
Topic = Annotated[str, typer.Option("--topic", help="The journal, such as bank-events-0.")]
MaybePartitions = Annotated[
    int,
    typer.Option(
        "--partitions",
        envvar="BENNU_PARTITIONS",
        min=0,
        max=MAX_PARTITIONS,
        help="How many partitions the app must have; 0 believes its journals, each of which says it.",
    ),
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
    config: Config = "",
    as_json: AsJson = False,
) -> None:
    """Print the records of a journal: what each is, and its entries.  With --json one object a line.

    What a record is depends on all before it, so the journal is read from its beginning whatever --from says.
    """
    from bennu.cli.journal_dump import lines, plain
    from bennu.replica.history import judged

    domain = load(app_name) if app_name else None

    async def work() -> None:
        printed = 0
        async with open_log(log, config) as opened:
            async for found in judged(opened, topic):
                if found.offset < first:
                    continue
                record = plain(found, domain)
                typer.echo(json.dumps(record) if as_json else "\n".join(lines(record)))
                printed += 1
                if printed == limit:
                    return

    asyncio.run(work())


@app.command()
def export(
    topic: Topic,
    *,
    app_name: AppName,
    to: Annotated[Path, typer.Option("--to", help="The file to write, such as deposits.golden.json.")],
    log: LogUrl = "sqlite",
    config: Config = "",
) -> None:
    """Write a domain's journal, with the states and replies of today, as a golden history for the app's tests.

    It holds all that the journal does: make it from invented data, and commit it.
    """
    from bennu.replica.history import records
    from bennu.testing import golden

    async def work() -> list[bytes]:
        async with open_log(log, config) as opened:
            return [record.body async for record in records(opened, topic)]

    golden.write(load(app_name), topic, asyncio.run(work()), path=to)
    typer.echo(f"{to}: {topic} as it is today; `bennu.testing.golden.check` replays it")


@app.command()
def verify(  # noqa: PLR0913  each is a flag
    *,
    log: LogUrl = "sqlite",
    topic: Topic = "",
    app_name: MaybeApp = "",
    partitions: MaybePartitions = 0,
    config: Config = "",
    as_json: AsJson = False,
) -> None:
    """Check one journal, or with --app all journals of an app.

    Order, epochs and the digest chain; with --app also that none is missing, and whether this build can replay them:
    the app's rules evolve the events again, and the digests of state are compared.  Exit code 70: something is broken,
    lost, or not known to this build, and the message names topic, offset and reason; 1: there is nothing to verify.
    """
    if not topic and not app_name:
        raise BadSettings("say which journals: --topic bank-events-0, or --app bank.app:app")
    domain = load(app_name) if app_name else None

    async def work() -> "list[Counts]":
        from bennu.cli import journal_found
        from bennu.cli.journal_verify import verify as verify_one

        async with open_log(log, config) as opened:
            if domain is None or topic:
                names = await journal_found.one(opened, topic, partitions)
            else:
                names = await journal_found.all_of(opened, domain.name, partitions, url=SHORT_LOGS.get(log, log))
            return [await verify_one(opened, name, domain) for name in names]

    found: list[Counts] = []
    try:
        found = asyncio.run(work())
        _check_known(found)
    except Final as problem:
        if as_json:
            said = {"ok": False, "problem": type(problem).__name__, "reason": str(problem)}
            typer.echo(json.dumps(said | ({"journals": [counts.as_dict() for counts in found]} if found else {})))
        raise
    if as_json:
        typer.echo(json.dumps({"ok": True, "journals": [counts.as_dict() for counts in found]}))
    else:
        _show(found)


def _check_known(found: "list[Counts]") -> None:
    """Raise `UnknownToBuild`, with all that is not known, for journals that this build can't go on from."""
    lacking = [f"{counts.topic}: {'; '.join(counts.lacks)}" for counts in found if counts.lacks]
    if lacking:
        raise UnknownToBuild("this build can't replay " + ".  ".join(lacking))


def _show(found: "list[Counts]") -> None:
    for counts in found:
        if not counts.records:
            typer.echo(f"{counts.topic}: empty, so nothing was begun there yet")
            continue
        typer.echo(f"{counts.topic}: all is well" + (", and this build can replay it" if counts.replayed else ""))
        typer.echo(
            f"    records {counts.records}: epochs {counts.epochs}, batches {counts.batches}, "
            f"duplicates {counts.duplicates}, void {counts.void}\n"
            f"    entries {counts.entries}, events {counts.events}, digests of state {counts.state_digests}"
            + (f": {counts.digests_agreed} agree" if counts.replayed else "")
            + (f", {counts.digests_of_another_form} of another form" if counts.digests_of_another_form else "")
        )
        for line in counts.types.lines():
            typer.echo(f"    {line}")
