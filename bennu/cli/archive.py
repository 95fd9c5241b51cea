"""`bennu archive verify`, `bennu restore`, `bennu snapshots keep` and `put-back`: what is done with an archive."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bennu.cli.options import AsJson, Config, LogUrl, open_log
from bennu.cli.snapshots import app as snapshots
from bennu.cli.snapshots import store_of
from bennu.cli.told import run_told
from bennu.errors import BadSettings

if TYPE_CHECKING:
    from bennu.archive.folder import Archive
    from bennu.archive.snapshots import Moved

To = Annotated[Path, typer.Option("--to", envvar="BENNU_ARCHIVE", help="Folder of the archive.")]
From = Annotated[Path, typer.Option("--from", envvar="BENNU_ARCHIVE", help="Folder of the archive.")]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="Only these, each by its own flag.")]


def verify(folder: From, *, as_json: AsJson = False) -> None:
    """Check every checksum, every segment's digest, every journal's chain, and that no record lacks its causes.

    Exit code 70: something is broken, and the message names file and offset; 78: nothing is archived in this folder.
    """
    from bennu.archive.verify import require_records
    from bennu.archive.verify import verify as verify_all

    archive = _archive(folder)
    require_records(archive)
    found = verify_all(archive)
    if as_json:
        typer.echo(json.dumps({"ok": True, "topics": [topic.as_dict() for topic in found]}))
        return
    for topic in found:
        typer.echo(
            f"{topic.topic:32} records {topic.records}, offsets {topic.first} to {topic.next - 1}, "
            f"segments {topic.segments}, of which sealed {topic.sealed}: all is well"
        )


def run_verify(arguments: Sequence[str]) -> int:
    """As `bennu archive verify`; the exit code."""

    def build() -> typer.Typer:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(verify)
        return app

    return run_told(build, arguments, name="bennu archive verify")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    snapshots.command("keep")(keep)
    snapshots.command("put-back")(put_back)

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


def keep(*, folder: To, config: Config = "", as_json: AsJson = False) -> None:
    """Copy the snapshots in Postgres, which BENNU_POSTGRES names, to the folder of an archive."""
    from bennu.archive.snapshots import keep as keep_all

    _show_moved(asyncio.run(keep_all(store_of(config), _archive(folder))), as_json=as_json)


def put_back(*, folder: From, config: Config = "", as_json: AsJson = False) -> None:
    """Write the snapshots in the folder of an archive into Postgres; not those that know more than the archive."""
    from bennu.archive.snapshots import put_back as put_all_back

    _show_moved(asyncio.run(put_all_back(store_of(config), _archive(folder))), as_json=as_json)


def _show_moved(moved: Sequence["Moved"], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"snapshots": [one._asdict() for one in moved]}))
        return
    for one in moved:
        typer.echo(f"{one.topic:32} offset {one.offset}: " + (one.passed_over or "copied"))
    if not moved:
        typer.echo("no snapshot is there")


def _archive(folder: Path) -> "Archive":
    from bennu.archive.folder import Archive

    if not folder.is_dir():
        raise BadSettings(f"no folder {folder}, so there is no archive")
    return Archive(folder)
