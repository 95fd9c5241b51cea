"""`bennu drill failover` on the embedded log: real processes, hit under load."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from bennu.drill.nodes import ClusterSettings, started
from bennu.stack.stack import LogKind
from tests.cli.running import running
from tests.drill.drilled import drilled
from tests.stack.processes import alive

SMALL = ("drill", "failover", "--log", "sqlite", "--rate", "60", "--partitions", "4", "--every-s", "3", "--json")


@pytest.mark.real
@pytest.mark.parametrize(("fault", "runs"), [("kill", 2), ("stop", 1), ("handover", 3)])
def test_all_promises_are_kept_and_nothing_is_left(folder: Path, fault: str, runs: int) -> None:
    """Exit code 0; the last line has the numbers; no process, no folder."""
    flags = ("--fault", fault, "--runs", str(runs))
    check(drilled(folder, *SMALL, *flags, until=f"run {runs} of {runs}"), fault, runs)


def check(numbers: dict[str, Any], fault: str, runs: int) -> None:
    """What the last line must say."""
    assert (numbers["fault"], numbers["log"], numbers["runs"]) == (fault, "sqlite", runs)
    assert [numbers[name] for name in ("lost", "duplicated", "stale_acknowledgements", "problems")] == [0, 0, 0, []]
    assert numbers["money_conserved"] is numbers["digests_equal"] is True
    assert 0 < numbers["gap_p50_ms"] <= numbers["gap_p99_ms"] <= numbers["gap_max_ms"]
    assert numbers["acknowledged"] > numbers["refused"] > 0


@pytest.mark.real
def test_a_cluster_that_is_there_can_be_asked_to_hand_over(folder: Path) -> None:
    """Found by its log; what it has done for others before is not held against it."""
    settings = ClusterSettings("bank.app:app", "bank", LogKind.SQLITE, nodes=2, partitions=4)

    async def drilled() -> None:
        async with started(settings, folder) as cluster:
            flags = (*SMALL, "--fault", "handover", "--target", cluster.log_url, "--runs")
            for runs in (1, 2):
                ended = await asyncio.to_thread(bennu_ended, folder, *flags, str(runs))
                assert (ended["runs"], ended["problems"], ended["log"]) == (runs, [], cluster.log_url)

    asyncio.run(drilled())


def bennu_ended(folder: Path, *flags: str) -> dict[str, Any]:
    """The last line of a drill that succeeds."""
    with running(folder, *flags) as command:
        output = list(command.lines())
        code = command.process.wait()
        assert (command.errors(), code) == ("", 0), output
    numbers: dict[str, Any] = json.loads(output[-1])
    return numbers


@pytest.mark.real
def test_ctrl_c_half_way_leaves_nothing(folder: Path) -> None:
    """Exit code 130, no process and no temporary folder."""
    with running(folder, *SMALL, "--runs", "1000", environ={"TMPDIR": str(folder / "tmp")}) as command:
        command.read_until("run 1 of")
        below = command.below()
        command.interrupt()
        assert command.wait() == 130, command.errors()
        assert command.errors() == "interrupted\n"
        assert [line for pid, line in below.items() if alive(pid)] == []
    assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (("--fault", "cut"), "--fault cut needs --log rocketmq"),
        (("--target", "sqlite:/nowhere", "--fault", "kill"), "say --fault handover, or leave --target out"),
    ],
)
def test_what_cant_be_done_is_said_at_once(folder: Path, flags: tuple[str, ...], problem: str) -> None:
    """Exit code 78, and what to do instead."""
    with running(folder, "drill", "failover", *flags) as command:
        assert command.process.wait() == 78
        assert problem in command.errors()
