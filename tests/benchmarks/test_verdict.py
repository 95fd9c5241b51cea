"""What is said of a run: medians, percentiles, ratios, and who may be named with --only."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import commands
from benchmarks.__main__ import build
from benchmarks.contest.entrants import chosen, everybody
from benchmarks.contest.port import Round, figures
from benchmarks.contest.verdict import CALLERS, verdict
from bennu.errors import BadSettings


def run(**rates: int) -> dict[str, dict[str, Any]]:
    """Entrants by name, each with a rate."""
    return {name: {"commands_per_second": rate} for name, rate in rates.items()}


def test_medians_are_of_rounds_so_that_one_bad_round_changes_nothing() -> None:
    """Rates and percentiles alike."""
    good, bad = Round(1_000, 1.0, [1.0] * 990 + [2.0] * 10), Round(10, 10.0, [500.0] * 10)
    found = figures([good, bad, good])
    assert found["commands_per_second"] == 1_000
    assert found["rounds"] == [1_000, 1, 1_000]
    assert (found["p50_ms"], found["p99_ms"], found["p999_ms"]) == (1.0, 1.0, 2.0)


def test_few_samples_have_no_p999() -> None:
    """Nor has a round without latencies any percentile."""
    assert "p999_ms" not in figures([Round(999, 1.0, [1.0] * 999)])
    assert "p50_ms" not in figures([Round(999, 1.0)])


def test_refused_commands_are_told() -> None:
    """Of all rounds together; nothing is said where there are none."""
    assert figures([Round(5, 1.0, refused=2), Round(5, 1.0, refused=3)])["refused"] == 5
    assert "refused" not in figures([Round(5, 1.0)])


def test_a_ratio_is_to_the_best_of_an_alternatives_settings() -> None:
    """Connections and threads are for the alternative to choose."""
    rates = {"bennu/rocketmq/stream/100": 60_000, "bare-loop/rocketmq/stream/100": 100_000}
    rates |= {"postgres/transaction/1": 500, "postgres/transaction/16": 2_000, "postgres/transaction/32": 1_900}
    rates |= {"postgres/function/8": 6_000, "producer/rocketmq/1": 900, "producer/rocketmq/64": 12_000}
    found = verdict(run(**rates))
    assert found["commands_per_second"] == 60_000
    assert found["ratio_to_bare_loop"] == 0.6
    assert found["ratio_to_postgres"] == 30.0
    assert found["ratio_to_stored_function"] == 10.0
    assert found["ratio_to_rocketmq_producer"] == 5.0
    assert found["ratio_to_eventsourcing"] is found["p99_ms"] is found["ratio_to_echo_64"] is None


def test_calls_are_compared_with_an_echo_of_as_many_callers() -> None:
    """On the embedded log."""
    rates = {f"bennu/sqlite/unary/{callers}": 10 * callers for callers in CALLERS}
    rates |= {f"echo/unary/{callers}": 20 * callers for callers in CALLERS}
    found = verdict(run(**rates))
    assert [found[f"ratio_to_echo_{callers}"] for callers in CALLERS] == [0.5, 0.5, 0.5]


def test_names_are_unique_and_the_verdict_knows_them() -> None:
    """What it compares takes part."""
    names = [each.name for each in everybody()]
    assert len(names) == len(set(names))
    told = verdict({name: {"commands_per_second": 1, "p50_ms": 1, "p99_ms": 1, "p999_ms": 1} for name in names})
    assert None not in told.values()


def test_some_can_be_chosen_and_a_misspelt_name_is_refused() -> None:
    """With a list of what there is."""
    assert [each.name for each in chosen(["echo/*/64", "fdatasync"])] == ["fdatasync", "echo/unary/64"]
    with pytest.raises(BadSettings, match="bennu/rocketmq/stream/100"):
        chosen(["bennu/rocketmq/strem/*"])


def test_the_last_line_is_one_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the figures, the machine without its name, and null for what was not measured."""
    monkeypatch.setattr(commands, "settle", lambda: None)  # it is for a whole process, and this one has other tests
    flags = ["commands", "--only", "fdatasync", "--rounds", "1", "--seconds", "0.2", "--json"]
    ran = CliRunner().invoke(build(), flags)
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["ratio_to_postgres"] is told["p99_ms"] is None
    assert told["entrants"]["fdatasync"]["commands_per_second"] > 0
    assert told["machine"]["cores"] >= 1
    assert set(told["machine"]) == {"cpu", "cores", "memory_gib", "kernel", "load", "versions"}
