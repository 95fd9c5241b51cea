"""`bennu snapshot` takes them, `bennu snapshots list` shows them."""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bennu.cli.options import AppName, AsJson, Config, LogUrl, Partitions, load, open_log, setting
from bennu.errors import BadSettings

if TYPE_CHECKING:
    from bennu.domain.app import App
    from bennu.log.port import Log
    from bennu.replica.state import Fold
    from bennu.snapshots.once import Taken, Taker
    from bennu.snapshots.store import SnapshotStore, Stored

One = Annotated[int | None, typer.Option("--partition", min=0, help="Only this one; otherwise all.")]
Keep = Annotated[int, typer.Option("--keep", min=1, max=1000, help="How many of each journal are kept: the newest.")]
AtOnce = Annotated[
    bool, typer.Option("--at-once", help="As fast as may be: where no leader shares disk and processors.")
]
MaybeApp = Annotated[str, typer.Option("--app", envvar="BENNU_APP", help="Only those of this app.")]
NewFold = Callable[["App"], "Fold"]

app = typer.Typer(help="The snapshots in Postgres, which BENNU_POSTGRES names.", no_args_is_help=True)


class Journals(NamedTuple):
    """Of one app, and of one kind: `events` or `saga`."""

    app: "App"
    kind: str
    partitions: int
    new_fold: NewFold

    async def take(self, number: int, taker: "Taker") -> dict[str, object]:
        """A snapshot of one of them; what was done, as plain data."""
        from bennu.replica.state import ReplicaState

        began_s, topic = time.monotonic(), f"{self.app.name}-{self.kind}-{number}"
        taken = await taker.take(
            topic,
            lambda: ReplicaState(self.new_fold(self.app), partition=number, partitions=self.partitions),
            created_at_us=time.time_ns() // 1000,
        )
        return _plain(taken, seconds=time.monotonic() - began_s)


def _plain(taken: "Taken", *, seconds: float) -> dict[str, object]:
    plain: dict[str, object] = {
        "topic": taken.ended.topic,
        "begun_offset": taken.begun.offset,
        "offset": taken.ended.offset,
        "batch_no": taken.ended.batch_no,
        "next_seq": taken.ended.next_seq,
        "snapshot": taken.written.number if taken.written else None,
    }
    if taken.written:
        header = taken.written.header
        plain |= {"bytes": header.size, "chunks": len(header.chunks), "digest": header.digest.hex()}
    return plain | {"seconds": round(seconds, 2)}


def command(kind: str, new_fold: NewFold) -> Callable[..., None]:
    """What takes snapshots of journals of this kind, whose states `new_fold` makes."""

    def snapshot(  # noqa: PLR0913  each is a flag
        app_name: AppName,
        *,
        log: LogUrl = "sqlite",
        partition: One = None,
        partitions: Partitions = 1,
        keep: Keep = 3,
        at_once: AtOnce = False,
        config: Config = "",
        as_json: AsJson = False,
    ) -> None:
        """Take a snapshot of each journal's tail: begin from the newest that fits, replay what came since, write.

        It reads the journals, and asks nothing of the services.  BENNU_POSTGRES says where snapshots are kept.  It
        takes its time, so that no leader beside it is slowed down: about a second for each journal, however small, and
        another for each MiB; and what came since the last one is read at a tenth of the usual speed.  --at-once does
        without: a small one takes a tenth of a second.
        """
        from bennu.snapshots.once import Taker
        from bennu.snapshots.pace import AT_ONCE, gently

        if partition is not None and partition >= partitions:
            raise BadSettings(f"--partition {partition}: there are {partitions}, from 0 on; say --partitions")
        journals = Journals(load(app_name), kind, partitions, new_fold)
        store = store_of(config)

        async def work() -> list[dict[str, object]]:
            async with _log(log, config) as opened:
                numbers = range(partitions) if partition is None else (partition,)
                taker = Taker(store, opened, keep=keep, pace=AT_ONCE if at_once else gently())
                return [await journals.take(number, taker) for number in numbers]

        _show_taken(asyncio.run(work()), as_json=as_json)

    return snapshot


def _aggregates(app: "App") -> "Fold":
    from bennu.replica.fold import AggregateFold

    return AggregateFold(app)


def register(to: typer.Typer) -> None:
    """Add the command."""
    to.command("snapshot")(command("events", _aggregates))


@app.command("list")
def list_snapshots(*, app_name: MaybeApp = "", config: Config = "", as_json: AsJson = False) -> None:
    """Print the snapshots that are there, of each journal the newest first; what is wrong with one, too."""
    found = asyncio.run(store_of(config).find())
    wanted = load(app_name).name if app_name else ""
    plain = [_described(each) for each in found if not wanted or each.topic.startswith(f"{wanted}-")]
    if as_json:
        typer.echo(json.dumps(plain))
        return
    for each in plain:
        said = each.get("problem") or "offset {offset}, batch {batch_no}, {bytes} bytes, by {build}".format_map(each)
        typer.echo(f"{each['topic']:32} {each['snapshot']:>6}  {each['taken_at']}  {said}")
    if not plain:
        typer.echo("no snapshot is there: `bennu snapshot` takes them")


def _described(stored: "Stored") -> dict[str, object]:
    from bennu.replica.slices import Unfit
    from bennu.snapshots.format import decode_header

    plain: dict[str, object] = {
        "topic": stored.topic,
        "snapshot": stored.number,
        "taken_at": stored.taken_at.isoformat(timespec="seconds"),
    }
    try:
        header = decode_header(stored.header)
    except Unfit as problem:
        return plain | {"problem": str(problem)}
    position = header.position
    return plain | {
        "offset": position.offset,
        "batch_no": position.batch_no,
        "next_seq": position.next_seq,
        "bytes": header.size,
        "chunks": len(header.chunks),
        "build": header.build,
        "versions": {kind: form.version for kind, form in header.forms.items()},
    }


def _show_taken(taken: list[dict[str, object]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(taken))
        return
    for each in taken:
        done = "snapshot {snapshot} of {bytes} bytes" if each["snapshot"] is not None else "nothing new to take"
        said = (
            f"{{topic}}: {done}, at offset {{offset}} (batch {{batch_no}}), read from {{begun_offset}}, {{seconds}} s"
        )
        typer.echo(said.format_map(each))


def store_of(config: str) -> "SnapshotStore":
    """The one that BENNU_POSTGRES names, or the file.  Raises `BadSettings`."""
    from bennu.snapshots.store import SnapshotStore

    dsn = setting("postgres", config)
    if not dsn:
        raise BadSettings("postgres is missing: set BENNU_POSTGRES or BENNU_POSTGRES_FILE")
    return SnapshotStore(dsn, name="by hand")


def _log(url: str, config: str) -> "AbstractAsyncContextManager[Log]":
    from bennu.ops.logs import joined

    return joined(open_log(url, config), setting("archive", config))
