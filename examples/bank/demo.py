"""The bank on this machine, end to end: `bennu demo`.

Starts a log, a Postgres and the three services; opens accounts; moves money with concurrent clients, some of it to
where it is refused and must be paid back; and then counts: money in memory, in the journal and in Postgres, and
every row of the tables against a recomputation from the journal.  Exit code 0 only if all of it agrees.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from bank.app import app as bank
from bank.demo_report import show
from bank.demo_run import Plan, Result, run
from bennu.cli.told import run_told
from bennu.drill.beside import beside
from bennu.errors import Unavailable
from bennu.ops import logging
from bennu.stack.folders import temporary_folder
from bennu.stack.stack import LogKind
from bennu.stack.suite import Suite, SuiteSettings

LOOK_S = 0.2


def demo(  # noqa: PLR0913  each is a flag
    *,
    kind: Annotated[LogKind, typer.Option("--log", help="Which log.")] = LogKind.SQLITE,
    accounts: Annotated[int, typer.Option(min=100, max=100_000, help="Accounts to open.")] = 1_000,
    transfers: Annotated[int, typer.Option(min=1, max=1_000_000, help="Transfers to ask for.")] = 5_000,
    clients: Annotated[int, typer.Option(min=1, max=1_000, help="Callers at a time.")] = 64,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of the bank.")] = 8,
    seed: Annotated[int, typer.Option(help="Chooses who pays whom.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Run the bank here, all of it, and count the money.  Nothing is left behind."""
    logging.configure("warning")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its `bennu demo &` ignore it
    plan = Plan(accounts=accounts, transfers=transfers, clients=clients, seed=seed)
    settings = SuiteSettings("bank.app:app", bank.name, kind, partitions)
    typer.echo(f"seed {seed}; starting the log ({kind}), Postgres, CServer, Saga and QServer ...")
    with temporary_folder("bennu-demo-") as folder:
        result = uvloop.run(demonstrate(plan, settings, folder))
    show(result)
    if as_json:
        typer.echo(json.dumps({**result.numbers(), "log": kind, "seed": seed}))
    if result.problems:
        raise Unavailable("; ".join(result.problems))


async def demonstrate(plan: Plan, settings: SuiteSettings, folder: Path) -> Result:
    """All of it.  Raises `Unavailable` when a part gives up."""
    async with Suite(settings, folder) as suite:
        try:
            return await beside(run(plan, suite, say=typer.echo), _ended(suite))
        except (TimeoutError, ExceptionGroup) as stuck:
            if isinstance(stuck, ExceptionGroup) and stuck.subgroup(TimeoutError) is None:
                raise
            raise Unavailable("the demonstration got stuck: all services run, but an answer did not come") from stuck


async def _ended(suite: Suite) -> None:
    """Raises `Unavailable` once a service has ended, with what to say of it."""
    while (service := suite.ended()) is None:  # noqa: ASYNC110  only looking tells
        await asyncio.sleep(LOOK_S)
    raise Unavailable(f"{service.program.name} has ended, so the demonstration can't go on:\n{service.last_lines()}")


def build() -> typer.Typer:
    """The command, by itself."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(demo)
    return app


if __name__ == "__main__":
    sys.exit(run_told(build, sys.argv[1:], name="bennu demo"))
