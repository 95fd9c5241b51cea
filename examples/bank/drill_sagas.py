"""Rehearse sagas with the bank: `bennu drill sagas`.

Starts a log, CServers and Sagas, begins transfers, and kills Saga, CServer and broker again and again meanwhile.  Exit
code 0 only if each transfer has ended, completed or compensated, or stands in compensation_failed, where a few must;
if money is conserved; and if every answer is kept.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from bank.app import app as bank
from bank.drill_saga_load import TransferLoad
from bennu.cli.told import run_told
from bennu.drill import terminal
from bennu.drill.nodes import ClusterSettings, started
from bennu.drill.saga_result import SagaResult
from bennu.drill.sagas import Plan, drill
from bennu.stack.folders import temporary_folder
from bennu.stack.stack import LogKind


def sagas(  # noqa: PLR0913  each is a flag
    *,
    kind: Annotated[LogKind, typer.Option("--log", help="Which log to start.")] = LogKind.SQLITE,
    number: Annotated[int, typer.Option("--sagas", min=1, max=1_000_000, help="Transfers to begin.")] = 2_000,
    rate: Annotated[float, typer.Option(min=1, max=100_000, help="Transfers a second, at most.")] = 500,
    processes: Annotated[int, typer.Option("--nodes", min=1, max=16, help="CServers, and as many Sagas.")] = 2,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of the bank.")] = 2,
    every_s: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds from a part's return to its next kill.")
    ] = 8,
    seed: Annotated[int, typer.Option(help="Chooses who pays whom, who is killed, and when.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Kill what carries transfers out, again and again, and check that each of them ends.  Nothing is left behind."""
    terminal.begin()
    settings = ClusterSettings("bank.app:app", bank.name, kind, processes, partitions, sagas=processes)
    with temporary_folder("bennu-drill-") as folder:
        result = uvloop.run(rehearse(Plan(number, rate, every_s, seed), settings, folder))
    terminal.tell(result, as_json=as_json, log=kind, seed=seed)


async def rehearse(plan: Plan, settings: ClusterSettings, folder: Path) -> SagaResult:
    """Start what must be started, and drill."""
    parts = f"{settings.nodes} CServers and {settings.sagas} Sagas"
    typer.echo(f"seed {plan.seed}; starting the log ({settings.kind}), {parts} ...")
    load = TransferLoad(settings.partitions, plan.sagas, seed=plan.seed, name=f"d{plan.seed}")
    async with started(settings, folder) as cluster:
        return await drill(plan, cluster, load, say=typer.echo)


def build() -> typer.Typer:
    """The command, by itself."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(sagas)
    return app


if __name__ == "__main__":
    sys.exit(run_told(build, sys.argv[1:], name="bennu drill sagas"))
