"""Curves of growth as tables of Markdown and as plots: what the page shows of `bennu bench growth`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.svg import lines

Run = Mapping[str, Any]


class Shown(NamedTuple):
    """How a part is drawn: the column across, and those that are lines, with their words."""

    title: str
    across: str
    up: str
    columns: Mapping[str, str]


PLOTS: Mapping[str, Shown] = {
    "accounts": Shown(
        "Seconds of a restart, by accounts",
        "accounts",
        "s",
        {"snapshot_taken_in_s": "snapshot taken", "restored_in_s": "restored from it", "serving_in_s": "all replayed"},
    ),
    "partitions": Shown(
        "Milliseconds of a frame at 2,000 commands a second, by partitions of one process",
        "partitions",
        "ms",
        {"p50_ms": "p50", "p99_ms": "p99"},
    ),
    "processes": Shown(
        "Commands a second of six partitions, by processes that share them",
        "processes",
        "commands a second",
        {"commands_per_second_to_the_leader": "to the leader", "commands_per_second_to_anybody": "to anybody"},
    ),
    "payloads": Shown(
        "Commands and megabytes a second, by bytes of a command",
        "bytes",
        "a second",
        {"commands_per_second": "commands", "megabytes_per_second": "megabytes"},
    ),
    "history": Shown(
        "Megabytes of a CServer's memory and of its log, by commands to a thousand accounts",
        "commands",
        "MB",
        {"rss_mb": "memory", "log_mb": "log"},
    ),
}


def name_of(part: str) -> str:
    """Of its section in the page, and of its plot."""
    return f"growth-{part}"


def rows(run: Run) -> dict[str, Sequence[Mapping[str, Any]]]:
    """By part, those that were measured."""
    return {part: run[part] for part in PLOTS if run.get(part)}


def plots(run: Run) -> dict[str, str]:
    """SVG, by name; a part of one size is no curve."""
    return {name_of(part): _plot(PLOTS[part], found) for part, found in rows(run).items() if len(found) > 1}


def _plot(shown: Shown, found: Sequence[Mapping[str, Any]]) -> str:
    curves = {
        said: [(float(row[shown.across]), float(row[column])) for row in found if row[column] > 0]
        for column, said in shown.columns.items()
    }
    curves = {said: points for said, points in curves.items() if points}
    return lines(shown.title, curves, across=shown.across, up=shown.up, by_factors=True)
