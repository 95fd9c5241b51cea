"""How long nobody is answered after the leader's death: `bennu bench failover`.

The rehearsal of `bennu drill failover`, with its load of transfers and all its checks, for its figures alone: a gap
goes from kill -9 of the process that leads most, to the first answer in the partition that waited longest.
"""

import json
from typing import Annotated

import typer
import uvloop

from bank.drill_failover import Where, rehearse
from benchmarks.serving import LOGS, bench_folder, check_log
from bennu.drill.failover import Plan
from bennu.drill.faults import FaultKind
from bennu.drill.terminal import begin
from bennu.errors import Unavailable
from bennu.ops.interpreter import settle
from bennu.stack.stack import LogKind

FIGURES = ("gap_p50_ms", "gap_p99_ms", "gap_max_ms", "latency_p50_ms", "latency_p99_ms", "acknowledged")
NODES = 3
PARTITIONS = 8
EVERY_S = 8.0
SEED = 1


def measure(
    *,
    log: Annotated[str, typer.Option("--log", help=f"One of {', '.join(LOGS)}.")] = "sqlite",
    runs: Annotated[int, typer.Option(min=1, max=1_000, help="Leaders killed.")] = 5,
    rate: Annotated[float, typer.Option(min=1, max=100_000, help="Commands a second.")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Milliseconds from kill -9 of a leader to the next leader's first answer, under load."""
    check_log(log)
    begin()
    settle()  # a pause of this process would be taken for a gap
    with bench_folder() as folder:
        plan = Plan(FaultKind.KILL, runs, rate, EVERY_S, SEED)
        result = uvloop.run(rehearse(plan, Where(LogKind(log), NODES, PARTITIONS, ""), folder))
    if result.problems:
        raise Unavailable("; ".join(result.problems))
    numbers = result.numbers()
    found = {name: numbers[name] for name in FIGURES}
    for name, value in found.items():
        typer.echo(f"{name.replace('_', ' '):28} {value!s:>20}")
    if as_json:
        typer.echo(json.dumps({"log": log, "runs": runs, "rate": rate} | found))
