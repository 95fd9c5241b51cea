"""`bennu reconcile`: what it is told, and what it answers with.

Exit codes: 0 all that was compared is as the journal says; 1 it is not; 75 it could not be compared; 2, 70 and 78 as
of all commands.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Annotated

import typer

from bennu.cli.options import MAX_PARTITIONS, AppName, AsJson, Config, LogUrl, load, open_log, setting
from bennu.errors import BennuError, Final, OffsetGone, TopicMissing
from bennu.ops.logs import joined
from bennu_qserver.reconcile import status
from bennu_qserver.reconcile.memory import compare_memory
from bennu_qserver.reconcile.report import Report
from bennu_qserver.reconcile.session import session
from bennu_qserver.reconcile.tables import Request, compare_all, partitions_of

TABLES, MEMORY = "tables", "memory"
EXIT_DIFFERENT = 1
EXIT_NOT_COMPARED = 75

Names = Annotated[list[str] | None, typer.Argument(metavar="[PROJECTION]...", help="Only these; otherwise all.")]
Generation = Annotated[
    int, typer.Option("--generation", min=0, help="This one, such as one that is built; 0: the one that people read.")
]
MaybePartitions = Annotated[
    int,
    typer.Option("--partitions", envvar="BENNU_PARTITIONS", min=0, max=MAX_PARTITIONS, help="0 believes the journals."),
]
RowsAtOnce = Annotated[
    int, typer.Option("--rows-at-once", min=1, help="Kept in memory; for more rows the journals are read again.")
]
Limit = Annotated[int, typer.Option("--limit", min=0, help="Print at most so many differences; 0 prints all.")]
Grpc = Annotated[
    str, typer.Option("--grpc", envvar="BENNU_GRPC", help="A CServer of the app: its memory is compared, too.")
]
Only = Annotated[str, typer.Option("--only", metavar="tables|memory", help="Nothing else; otherwise both.")]
Own = Annotated[bool, typer.Option("--status", help="Only show what QServer itself has compared, and found.")]


def reconcile(  # noqa: PLR0913  each is a flag
    names: Names = None,
    *,
    app_name: AppName,
    log: LogUrl = "sqlite",
    generation: Generation = 0,
    partitions: MaybePartitions = 0,
    rows_at_once: RowsAtOnce = 1_000_000,
    limit: Limit = 0,
    grpc: Grpc = "",
    only: Only = "",
    own: Own = False,
    config: Config = "",
    as_json: AsJson = False,
) -> int:
    """Compare tables, and CServer's memory, with the journals, and print every difference.

    Whoever writes goes on meanwhile: a table is compared as one transaction sees it, with the journal up to its
    position.  BENNU_POSTGRES says where tables are, BENNU_ARCHIVE where records are that the log no longer keeps.
    Exit code 0: all is as the journals say; 1: it is not; 75: it could not be compared.
    """
    if only not in ("", TABLES, MEMORY) or (only == MEMORY and not grpc):
        raise typer.BadParameter("say tables, or memory with --grpc", param_hint="--only")
    app, dsn = load(app_name), setting("postgres", config)
    if own:
        return asyncio.run(_own(dsn, app.name, as_json=as_json))
    request = Request(app, tuple(names or ()), generation or None, partitions, rows_at_once)
    report = Report(app.name, as_json=as_json, limit=limit)

    async def work() -> None:
        async with joined(open_log(log, config), setting("archive", config)) as opened:
            if only != MEMORY:
                async with session(dsn) as postgres:
                    await compare_all(postgres, opened, request, shows=report)
            if grpc and only != TABLES:
                count = await partitions_of(opened, request)
                await compare_memory(grpc, opened, app, partitions=count, shows=report)

    if only == MEMORY:
        report.left_out("tables")
    if not grpc or only == TABLES:
        report.left_out("CServer's memory; --grpc says where a CServer is")
    return _ended(report, work)


def _ended(report: Report, work: Callable[[], Coroutine[None, None, None]]) -> int:
    problem: BennuError | None = None
    try:
        asyncio.run(work())
    except BennuError as caught:
        problem = caught
    report.end(str(problem or ""))
    if isinstance(problem, Final) and not isinstance(problem, OffsetGone | TopicMissing):
        raise problem
    if problem is not None:
        typer.echo(f"error: {problem}", err=True)
    return EXIT_DIFFERENT if report.differences else 0 if report.is_whole and not problem else EXIT_NOT_COMPARED


async def _own(dsn: str, app: str, *, as_json: bool) -> int:
    async with session(dsn) as postgres:
        rows = await postgres.run(lambda connection: status.shown(connection, app))
    for row in rows:
        typer.echo(json.dumps(row) if as_json else status.words(row))
    if not rows:
        typer.echo("QServer has compared nothing yet", err=True)
    if any(map(status.found, rows)):
        return EXIT_DIFFERENT
    return 0 if rows and all(map(status.is_whole, rows)) else EXIT_NOT_COMPARED
