"""Rehearse failovers with the bank: `bennu drill failover`.

Starts a log and several CServers, puts a load of transfers on them, and hits the node that leads most, again and again.
Then every answer is judged against the journals.  Exit code 0 only if all that was promised was kept; how long the gaps
were is printed, and decides nothing.
"""

import os
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from bank.app import app as bank
from bank.drill_load import BankLoad
from bennu.cli.told import run_told
from bennu.drill import nodes, terminal
from bennu.drill.failover import Plan, Target, drill
from bennu.drill.faults import FaultKind
from bennu.drill.result import Result
from bennu.errors import BadSettings
from bennu.ops.interpreter import settle
from bennu.stack.folders import temporary_folder
from bennu.stack.stack import LogKind


@dataclass(frozen=True)
class Where:
    """A cluster to be started, or the log's URL of one that is there."""

    kind: LogKind
    nodes: int
    partitions: int
    target: str


def failover(  # noqa: PLR0913  each is a flag
    *,
    kind: Annotated[LogKind, typer.Option("--log", help="Which log to start.")] = LogKind.SQLITE,
    target: Annotated[str, typer.Option(help="URL of the log of a cluster that runs already; for handovers.")] = "",
    fault: Annotated[FaultKind, typer.Option(help="What happens to the node that leads most.")] = FaultKind.KILL,
    runs: Annotated[int, typer.Option(min=1, max=10_000, help="How often.")] = 10,
    rate: Annotated[float, typer.Option(min=1, max=100_000, help="Commands a second.")] = 500,
    cservers: Annotated[int, typer.Option("--nodes", min=2, max=16, help="CServers to start.")] = 3,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of the bank.")] = 8,
    every_s: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds from fault to fault.")] = 8,
    seed: Annotated[int, typer.Option(help="Chooses who pays whom, and who is hit.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Hit the leader again and again under load, and check what was promised.  Nothing is left behind."""
    terminal.begin()
    plan = Plan(fault, runs, rate, every_s, seed)
    where = Where(kind, cservers, partitions, target)
    _check(plan, where)
    settle()  # a pause of this process would be taken for a gap
    with temporary_folder("bennu-drill-") as folder:
        result = uvloop.run(rehearse(plan, where, folder))
    terminal.tell(result, as_json=as_json, fault=fault, log=target or kind, seed=seed)


def _check(plan: Plan, where: Where) -> None:
    """Raises `BadSettings` for what can't be done."""
    if where.target and plan.fault is not FaultKind.HANDOVER:
        raise BadSettings(
            f"--target can be asked to hand partitions over, but the drill can't {plan.fault} processes that it did "
            "not start: say --fault handover, or leave --target out"
        )
    if plan.fault is FaultKind.CUT and where.kind is LogKind.SQLITE:
        raise BadSettings("--fault cut needs --log rocketmq: a file has no network between it and its readers")


async def rehearse(plan: Plan, where: Where, folder: Path) -> Result:
    """Start what must be started, and drill."""
    async with AsyncExitStack() as stack:
        name = f"d{plan.seed}"
        if where.target:
            target = Target(where.target)
            name += f"-{os.getpid()}"  # an earlier drill may have left accounts of this seed there
            typer.echo(f"seed {plan.seed}; the cluster whose log is {where.target}; accounts are called {name}-...")
        else:
            typer.echo(f"seed {plan.seed}; starting the log ({where.kind}) and {where.nodes} CServers ...")
            settings = nodes.ClusterSettings(
                "bank.app:app",
                bank.name,
                where.kind,
                where.nodes,
                where.partitions,
                relayed=plan.fault is FaultKind.CUT,
            )
            cluster = await stack.enter_async_context(nodes.started(settings, folder))
            target = Target(cluster.log_url, cluster.nodes)
        load = BankLoad(where.partitions, seed=plan.seed, name=name)
        return await drill(plan, target, load, say=typer.echo)


def build() -> typer.Typer:
    """The command, by itself."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(failover)
    return app


if __name__ == "__main__":
    sys.exit(run_told(build, sys.argv[1:], name="bennu drill failover"))
