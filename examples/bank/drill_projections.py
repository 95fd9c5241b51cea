"""Rehearse projections with the bank: `bennu drill projections`.

Starts a log, CServer, QServers and Postgres, moves money, and kills QServer and Postgres at random moments, also while
tables are rebuilt and switched to.  Exit code 0 only if at every check all rows equal a recomputation from the
journals, and no reader has ever seen entries that do not sum to zero, or two generations at once.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from bank import drill_history
from bank.app import app as bank
from bank.drill_tables import BankTables
from bennu.cli.told import run_told
from bennu.drill import terminal
from bennu.drill.nodes import ClusterSettings, started
from bennu.drill.projections import Plan, drill
from bennu.drill.table_result import TableResult
from bennu.stack.folders import temporary_folder
from bennu.stack.stack import LogKind


def projections(  # noqa: PLR0913  each is a flag
    *,
    kind: Annotated[LogKind, typer.Option("--log", help="Which log to start.")] = LogKind.SQLITE,
    rounds: Annotated[int, typer.Option(min=0, max=100_000, help="Faults, each followed by a check.")] = 12,
    rate: Annotated[float, typer.Option(min=1, max=100_000, help="Commands a second.")] = 300,
    qservers: Annotated[int, typer.Option(min=1, max=16, help="Processes of QServer.")] = 2,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of the bank.")] = 2,
    every_s: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds from a check to the next fault.")] = 2,
    rebuild_events: Annotated[
        int,
        typer.Option(
            min=0,
            max=20_000_000,
            help="Events that are in the journal from the beginning; then live rows must stay younger than a second "
            "during the rebuild that nothing disturbs. Needs --partitions 1.",
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(help="Chooses who pays whom, who is killed, and when.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Kill what fills tables, rebuild them, and compare every row.  Nothing is left behind."""
    if rebuild_events and partitions != 1:
        raise typer.BadParameter(
            "the journal is written for one partition: say --partitions 1", param_hint="--rebuild-events"
        )
    terminal.begin()
    settings = ClusterSettings("bank.app:app", bank.name, kind, 1, partitions, qservers=qservers)
    plan = Plan(rounds, rate, every_s, seed, bounded=rebuild_events > 0)
    with temporary_folder("bennu-drill-") as folder:
        result = uvloop.run(rehearse(plan, settings, folder, history=rebuild_events))
    terminal.tell(result, as_json=as_json, log=kind, seed=seed)


async def rehearse(plan: Plan, settings: ClusterSettings, folder: Path, *, history: int = 0) -> TableResult:
    """Start what must be started, and drill."""
    typer.echo(f"seed {plan.seed}; starting the log ({settings.kind}), CServer and {settings.qservers} QServers ...")
    tables = BankTables(settings.partitions, seed=plan.seed, name=f"d{plan.seed}")
    fill = partial(drill_history.write, events=history) if history else None
    async with started(settings, folder, fill=fill) as cluster:
        return await drill(plan, cluster, tables, say=typer.echo)


def build() -> typer.Typer:
    """The command, by itself."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(projections)
    return app


if __name__ == "__main__":
    sys.exit(run_told(build, sys.argv[1:], name="bennu drill projections"))
