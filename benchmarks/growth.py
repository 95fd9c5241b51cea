"""What grows with what, as curves: `bennu bench growth`.

Accounts, partitions, processes, the size of commands, and history: each part measures a row for each of its sizes, on
a log of its own, and `benchmarks/curves` has them.  How a figure goes from one row to the next is what counts.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, NamedTuple

import typer
import uvloop

from benchmarks.curves import accounts, history, payloads, shares
from benchmarks.curves.servers import Row, Site
from benchmarks.serving import LOGS, bench_folder, check_log
from bennu.ops.interpreter import settle


class Part(NamedTuple):
    """One of the curves."""

    curve: Callable[[Site, Sequence[int], float], Awaitable[list[Row]]]
    sizes: Sequence[int]


PARTS: Mapping[str, Part] = {
    "accounts": Part(accounts.curve, (10_000, 100_000, 1_000_000, 3_000_000)),
    "partitions": Part(shares.partitions, (1, 2, 4, 8, 16, 32)),
    "processes": Part(shares.processes, (1, 2, 3)),
    "payloads": Part(payloads.curve, (50, 500, 5_000, 50_000)),
    "history": Part(history.curve, (100_000, 200_000, 400_000)),
}
MAX_SIZES = {"accounts": 10_000_000, "partitions": 64, "processes": 3, "payloads": 500_000, "history": 100_000_000}


def measure(
    *,
    log: Annotated[str, typer.Option("--log", help=f"One of {', '.join(LOGS)}.")] = "sqlite",
    part: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(PARTS)}; may be repeated.")] = None,
    sizes: Annotated[
        list[str] | None, typer.Option(help="Of a part, such as accounts=1000,2000; may be repeated.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.2, max=60, help="Of each measurement, about.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Memory, throughput and latency over accounts, partitions, processes, sizes of commands, and history."""
    check_log(log)
    chosen = chosen_sizes(part or list(PARTS), sizes or [])
    settle()  # a pause of this process would be taken for the servers'
    with bench_folder() as folder:
        found = uvloop.run(_measured(Site(log, folder), chosen, seconds))
    if as_json:
        typer.echo(json.dumps({"log": log, "seconds": seconds} | found))


def chosen_sizes(names: Sequence[str], told: Sequence[str]) -> dict[str, Sequence[int]]:
    """By part, in the order of `PARTS`.  Raises `BadParameter` for a part or a size that can't be measured."""
    given = dict(_size(text) for text in told)
    if unknown := [name for name in (*names, *given) if name not in PARTS]:
        raise typer.BadParameter(f"there is no part {', '.join(unknown)}: there are {', '.join(PARTS)}")
    if idle := [name for name in given if name not in names]:
        raise typer.BadParameter(f"--sizes of {', '.join(idle)}, which --part does not name")
    for name, numbers in given.items():
        if not all(1 <= number <= MAX_SIZES[name] for number in numbers):
            raise typer.BadParameter(f"--sizes {name}: each is from 1 to {MAX_SIZES[name]:,}")
    return {name: given.get(name, part.sizes) for name, part in PARTS.items() if name in names}


def _size(text: str) -> tuple[str, Sequence[int]]:
    name, _, numbers = text.partition("=")
    try:
        return name, [int(number) for number in numbers.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--sizes {text}: say it as accounts=1000,2000") from None


async def _measured(site: Site, chosen: Mapping[str, Sequence[int]], seconds: float) -> dict[str, list[Row]]:
    """In one loop: gRPC would be left with one that was closed."""
    found: dict[str, list[Row]] = {}
    for name, sizes in chosen.items():
        found[name] = await PARTS[name].curve(site, sizes, seconds)
        typer.echo(name)
        for row in found[name]:
            typer.echo("    " + "  ".join(f"{key} {value:,}" for key, value in row.items()))
    return found
