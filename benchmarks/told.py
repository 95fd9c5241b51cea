"""A run as tables of Markdown and as plots."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contest.verdict import best
from benchmarks.curves import told as curves
from benchmarks.serving import LOGS
from benchmarks.svg import CEILINGS, OTHERS, OURS, Bar, bars, lines

Run = Mapping[str, Any]

LOG_NAMES = {"sqlite": "embedded log", "rocketmq": "RocketMQ"}
TARGETS = (
    ("commands_per_second", "stream, 100 a frame, RocketMQ: commands/s", ">=", 60_000),
    ("embedded_commands_per_second", "the same, embedded log", ">=", 80_000),
    ("ratio_to_bare_loop", "of the bare loop, RocketMQ", ">=", 0.5),
    ("embedded_ratio_to_bare_loop", "of the bare loop, embedded log", ">=", 0.5),
    ("ratio_to_postgres", "times one transaction a command in Postgres", ">=", 15),
    ("ratio_to_stored_function", "times one stored function a command", ">=", 4),
    ("ratio_to_eventsourcing", "times the library `eventsourcing`", ">=", None),
    ("ratio_to_rocketmq_producer", "times RocketMQ's own producer", ">=", 5),
    ("ratio_to_echo_1", "of a bare echo, one caller", ">=", 0.6),
    ("ratio_to_echo_64", "of a bare echo, 64 callers", ">=", 0.6),
    ("ratio_to_echo_256", "of a bare echo, 256 callers", ">=", 0.6),
    ("p50_ms", "p50 at 20,000/s, open loop, embedded log, ms", "<=", None),
    ("p99_ms", "p99 at 20,000/s, open loop, embedded log, ms", "<=", 25),
    ("alone_p50_ms", "one command alone, embedded log, p50 ms", "<=", 3),
)
COMPARED = (
    ("Bennu, stream, embedded log", "bennu/sqlite/stream/100", OURS),
    ("Bennu, stream, RocketMQ", "bennu/rocketmq/stream/100", OURS),
    ("bare loop, embedded log", "bare-loop/sqlite/stream/100", CEILINGS),
    ("bare loop, RocketMQ", "bare-loop/rocketmq/stream/100", CEILINGS),
    ("Bennu, typed calls, embedded log", "bennu/sqlite/unary/64", OURS),
    ("bare echo, typed calls", "echo/unary/64", CEILINGS),
    ("RocketMQ's own producer", "producer/rocketmq/", OTHERS),
    ("Postgres, stored function", "postgres/function/", OTHERS),
    ("Postgres, one transaction", "postgres/transaction/", OTHERS),
    ("eventsourcing on Postgres", "eventsourcing/postgres/", OTHERS),
    ("one write and one fdatasync", "fdatasync", CEILINGS),
)
COLUMNS = ("commands_per_second", "rounds", "p50_ms", "p99_ms", "p999_ms", "server_cpu_us_per_command")
HEADINGS = ("commands/s", "rounds", "p50 ms", "p99 ms", "p99.9 ms", "server's CPU, us")
PERCENTILES = {"p50_ms": "p50", "p99_ms": "p99", "p999_ms": "p99.9"}
LEFT_OUT = {"log"}


def sections(run: Run) -> dict[str, str]:
    """By the names that the page has for them."""
    found = {"machine": _machine(run["machine"])} if "machine" in run else {}
    if "commands" in run:
        told = run["commands"]
        found |= {"verdict": _verdict(told), "commands": _entrants(told["entrants"])}
    for part in ("replay", "snapshot", "projections", "sagas", "failover"):
        if part in run:
            found[part] = _by_log(run[part])
    for part, rows in curves.rows(run.get("growth", {})).items():
        found[curves.name_of(part)] = _rows(rows)
    return found


def plots(run: Run) -> dict[str, str]:
    """SVG, by name."""
    return (_compared(run) if "commands" in run else {}) | curves.plots(run.get("growth", {}))


def _compared(run: Run) -> dict[str, str]:
    """Of `bennu bench commands`."""
    entrants = run["commands"]["entrants"]
    shown = []
    for name, who, colour in COMPARED:
        found = best(entrants, who) if who.endswith("/") else who
        if found in entrants:
            shown.append(Bar(name, entrants[found]["commands_per_second"], colour))
    drawn = {"commands": bars("Durable commands a second", sorted(shown, key=lambda bar: -bar.value))} if shown else {}
    for log in LOGS:
        if by_rate := _latencies(entrants, log):
            title = f"Milliseconds from the intended time to the answer, {LOG_NAMES[log]}"
            drawn[f"latency-{log}"] = lines(title, by_rate, across="commands a second", up="ms")
    return drawn


def _latencies(entrants: Run, log: str) -> dict[str, list[tuple[float, float]]]:
    """Of each percentile: its points over the rate."""
    prefix = f"bennu/{log}/open-loop/"
    names = [name for name in entrants if name.startswith(prefix)]
    found = {
        said: [(float(name.removeprefix(prefix)), entrants[name][column]) for name in names if column in entrants[name]]
        for column, said in PERCENTILES.items()
    }
    return {said: points for said, points in found.items() if points}


def _machine(told: Run) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    kind = f"{told['cpu']}, {told['cores']} cores, {told['memory_gib']} GiB, Linux {told['kernel']}; {versions}."
    return f"{kind} When the run began, {told['load']} other processes were at work on average."


def _verdict(told: Run) -> str:
    rows = []
    for name, what, sign, target in TARGETS:
        value = told.get(name)
        held = "" if target is None else _held(value, sign, target)
        goal = "" if target is None else f"{'at least' if sign == '>=' else 'at most'} {target:,}"
        rows.append((what, _shown(value), goal, held))
    return _table(("", "measured", "goal", ""), rows)


def _held(value: float | None, sign: str, target: float) -> str:
    if value is None:
        return "not measured"
    return "yes" if (value >= target if sign == ">=" else value <= target) else "**no**"


def _entrants(entrants: Run) -> str:
    rows = [(f"`{name}`", *(_shown(row.get(column)) for column in COLUMNS)) for name, row in entrants.items()]
    return _table(("who", *HEADINGS), rows)


def _by_log(told: Run) -> str:
    """A row for each figure, a column for each log."""
    names = [name for name in next(iter(told.values())) if name not in LEFT_OUT]
    rows = [(name.replace("_", " "), *(_shown(figures.get(name)) for figures in told.values())) for name in names]
    return _table(("", *(LOG_NAMES[log] for log in told)), rows)


def _rows(rows: Sequence[Run]) -> str:
    """A row for each size, a column for each figure that any of them has."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    shown = [[_shown(row.get(column)) for column in columns] for row in rows]
    return _table([column.replace("_", " ").replace(" per second", "/s") for column in columns], shown)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = ["---", *["--:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [headings, marks, *rows])


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"{min(value):,} to {max(value):,}"
    return f"{value:,}" if isinstance(value, int | float) else str("" if value is None else value)
