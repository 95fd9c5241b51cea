"""`bennu archive verify` and `bennu restore`: is what was archived whole, and a log built from it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bennu.cli.options import AsJson, Config, LogUrl, open_log
from bennu.cli.told import run_told
from bennu.errors import BadSettings

if TYPE_CHECKING:
    from bennu.archive.folder import Archive

From = Annotated[Path, typer.Option("--from", envvar="BENNU_ARCHIVE", help="Folder of the archive.")]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="Only these, each by its own flag.")]


def verify(folder: From, *, as_json: AsJson = False) -> None:
    """Check every checksum, every segment's digest, every journal's chain, and that no record lacks its causes.

    Exit code 70: something is broken, and the message names file and offset.
    """
    from bennu.archive.verify import verify as verify_all

    found = verify_all(_archive(folder))
    if as_json:
        typer.echo(json.dumps({"ok": True, "topics": [topic.as_dict() for topic in found]}))
        return
    for topic in found:
        typer.echo(
            f"{topic.topic:32} records {topic.records}, offsets {topic.first} to {topic.next - 1}, "
            f"segments {topic.segments}, of which sealed {topic.sealed}: all is well"
        )
    if not found:
        typer.echo("nothing is archived here")


def run_verify(arguments: Sequence[str]) -> int:
    """As `bennu archive verify`; the exit code."""

    def build() -> typer.Typer:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(verify)
        return app

    return run_told(build, arguments, name="bennu archive verify")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def restore(
        folder: From, *, log: LogUrl = "sqlite", topic: Topics = None, config: Config = "", as_json: AsJson = False
    ) -> None:
        """Write what was archived into an empty log, at the same offsets; go on where a restore was interrupted.

        What the log held after the last record archived is lost, and so said.  Tables are not restored: start the
        services over an empty database, and they are built from the journals.
        """
        from bennu.archive.restore import restore as restore_all

        async def work() -> list[dict[str, object]]:
            async with open_log(log, config) as opened:
                return [done.as_dict() for done in await restore_all(_archive(folder), opened, topic or ())]

        found = asyncio.run(work())
        if as_json:
            typer.echo(json.dumps({"topics": found}))
            return
        for done in found:
            typer.echo(
                f"{done['topic']:32} offsets 0 to {done['last']} are as archived ({done['written']} written now); "
                f"what came after {done['last']} is lost"
            )


def _archive(folder: Path) -> "Archive":
    from bennu.archive.folder import Archive

    if not folder.is_dir():
        raise BadSettings(f"no folder {folder}, so there is no archive")
    return Archive(folder)
