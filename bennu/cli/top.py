"""`bennu top`: how much CServers do, where a command's time goes, and what keeps them from doing more."""

import json
import time
from collections.abc import Sequence
from http.client import HTTPException
from typing import TYPE_CHECKING, Annotated, NamedTuple
from urllib.request import urlopen

import typer

from bennu.cli.options import AsJson
from bennu.errors import BadSettings, Unavailable
from bennu.ops import addresses
from bennu.ops.stages import NAME, STAGES, Usage, bottleneck

if TYPE_CHECKING:
    from rich.console import Group

TIMEOUT_S = 5.0
CPU, COMMANDS = "process_cpu_seconds_total", "bennu_commands_total"


class Sample(NamedTuple):
    """One process's counters at a moment."""

    at_s: float
    cpu_s: float
    commands: int
    stages: dict[str, tuple[float, float]]
    """Calls that were measured, and the seconds they took together."""


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def top(
        ops: Annotated[list[str], typer.Argument(help="Operations port of each CServer, HOST:PORT; see its --ops.")],
        *,
        every_s: Annotated[float, typer.Option("--every-s", min=0.1, max=3600.0, help="Seconds of a look.")] = 2.0,
        looks: Annotated[int, typer.Option("--looks", min=0, help="How many; 0: until Ctrl-C.")] = 0,
        as_json: AsJson = False,
    ) -> None:
        """Show commands a second, the stages of a command's way, and the bottleneck of each CServer."""
        from rich.live import Live

        places = [str(addresses.parse(place.removeprefix("http://"), what="ops")) for place in ops]
        before, count = [sample(place) for place in places], 0
        with Live(auto_refresh=False) as screen:
            while not looks or count < looks:
                count += 1
                time.sleep(every_s)
                now = [sample(place) for place in places]
                used = [usage(*pair) for pair in zip(before, now, strict=True)]
                if as_json:
                    typer.echo(json.dumps([_plain(*pair) for pair in zip(places, used, strict=True)]))
                else:
                    screen.update(_shown(places, used), refresh=True)
                before = now


def sample(place: str) -> Sample:
    """What `/metrics` says there.  Raises `Unavailable`, or `BadSettings` if it is no CServer."""
    from prometheus_client.parser import text_string_to_metric_families

    try:
        with urlopen(f"http://{place}/metrics", timeout=TIMEOUT_S) as answer:
            text = answer.read().decode()
    except (OSError, HTTPException, UnicodeDecodeError) as problem:
        raise Unavailable(f"{place}: no metrics: {problem}; is it the operations port, as said by --ops?") from problem
    found: dict[str, float] = {}
    stages = {stage: [0.0, 0.0] for stage in STAGES}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name in (f"{NAME}_count", f"{NAME}_sum"):
                stages[labels["stage"]][name.endswith("_sum")] = value
            else:
                found[name] = found.get(name, 0.0) + value
    if not found.keys() >= {CPU, COMMANDS}:
        raise BadSettings(f"{place}: its metrics are not those of a CServer, which has {COMMANDS} and, on Linux, {CPU}")
    taken = {stage: (count, seconds) for stage, (count, seconds) in stages.items()}
    return Sample(time.monotonic(), found[CPU], int(found[COMMANDS]), taken)


def usage(before: Sample, now: Sample) -> Usage:
    """What was done between two samples; a process that was started anew meanwhile began at nothing."""
    if now.cpu_s < before.cpu_s or now.commands < before.commands:
        before = Sample(before.at_s, 0.0, 0, dict.fromkeys(STAGES, (0.0, 0.0)))
    means = {}
    for stage, (count, seconds) in now.stages.items():
        counted = count - before.stages[stage][0]
        if counted:
            means[stage] = (seconds - before.stages[stage][1]) / counted
    return Usage(now.at_s - before.at_s, now.cpu_s - before.cpu_s, now.commands - before.commands, means)


def _plain(place: str, used: Usage) -> dict[str, object]:
    return {
        "process": place,
        "commands_per_second": round(used.commands / used.seconds, 1),
        "cores": round(used.cpu_s / used.seconds, 3),
        "stages_ms": {stage: round(took_s * 1e3, 3) for stage, took_s in used.stages_s.items()},
        "bottleneck": bottleneck(used),
    }


def _shown(places: Sequence[str], used: Sequence[Usage]) -> "Group":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(caption="ms of a call, one command or a frame of them; one in sixteen is measured", min_width=70)
    table.add_column("")
    for place in places:
        table.add_column(place, justify="right")
    table.add_row("commands a second", *(f"{each.commands / each.seconds:,.0f}" for each in used))
    table.add_row("cores", *(f"{each.cpu_s / each.seconds:.2f}" for each in used), end_section=True)
    for stage, meaning in STAGES.items():
        took = (f"{each.stages_s[stage] * 1e3:.2f}" if stage in each.stages_s else "" for each in used)
        table.add_row(f"{stage}: {meaning}", *took)
    said = [Text(f"{place} is limited by {bottleneck(each)}") for place, each in zip(places, used, strict=True)]
    return Group(table, *said)
