"""What a run says in a few numbers: Bennu's, and how many times those of each alternative they are."""

from collections.abc import Mapping
from typing import Any

Entrants = Mapping[str, Mapping[str, Any]]
Number = float | None
"""None where it was not measured."""

OURS = "bennu/rocketmq/stream/100"
OPEN_LOOP = "bennu/sqlite/open-loop/20000"
ALONE = "bennu/sqlite/unary/1"
CALLERS = (1, 64, 256)


def verdict(entrants: Entrants) -> dict[str, Number]:
    """Rates are medians of rounds, and ratios those of such medians; of several settings the best one counts."""
    found: dict[str, Number] = {
        "commands_per_second": _rate(entrants, OURS),
        "ratio_to_bare_loop": _ratio(entrants, OURS, "bare-loop/rocketmq/stream/100"),
        "ratio_to_postgres": _ratio(entrants, OURS, "postgres/transaction/"),
        "ratio_to_stored_function": _ratio(entrants, OURS, "postgres/function/"),
        "ratio_to_eventsourcing": _ratio(entrants, OURS, "eventsourcing/postgres/"),
        "ratio_to_rocketmq_producer": _ratio(entrants, OURS, "producer/rocketmq/"),
        "embedded_commands_per_second": _rate(entrants, "bennu/sqlite/stream/100"),
        "embedded_ratio_to_bare_loop": _ratio(entrants, "bennu/sqlite/stream/100", "bare-loop/sqlite/stream/100"),
        "p50_ms": _figure(entrants, OPEN_LOOP, "p50_ms"),
        "p99_ms": _figure(entrants, OPEN_LOOP, "p99_ms"),
        "p999_ms": _figure(entrants, OPEN_LOOP, "p999_ms"),
        "alone_p50_ms": _figure(entrants, ALONE, "p50_ms"),
    }
    for callers in CALLERS:
        ours, echo = f"bennu/sqlite/unary/{callers}", f"echo/unary/{callers}"
        found[f"ratio_to_echo_{callers}"] = _ratio(entrants, ours, echo)
    return found


def best(entrants: Entrants, prefix: str) -> str | None:
    """The name of the fastest of those whose names begin so."""
    names = [name for name in entrants if name.startswith(prefix)]
    return max(names, key=lambda name: entrants[name]["commands_per_second"], default=None)


def _figure(entrants: Entrants, name: str, column: str) -> Number:
    found: Number = entrants.get(name, {}).get(column)
    return found


def _rate(entrants: Entrants, name: str) -> Number:
    return _figure(entrants, name, "commands_per_second")


def _ratio(entrants: Entrants, ours: str, theirs: str) -> Number:
    """`theirs`: a name, or a prefix that ends with a slash."""
    name = best(entrants, theirs) if theirs.endswith("/") else theirs
    mine, other = _rate(entrants, ours), _rate(entrants, name or "")
    return None if mine is None or not other else round(mine / other, 2)
