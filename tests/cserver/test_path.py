"""Where the time of a call goes: each stage of one call in sixteen."""

import json
from pathlib import Path as Folder

import pytest

from bank.v1.commands_pb2 import Deposit, OpenAccount
from bennu.ops.metrics import Metrics
from bennu.ops.stages import STAGES
from bennu.replica.leader import Sealing
from bennu_cserver.path import EVERY, Path, Paths
from tests.cli.shell import run
from tests.cserver.served import Server
from tests.cserver.test_stream import answers, frame

OPEN = OpenAccount(account="a", currency="EUR")
DEPOSIT = Deposit(account="a", amount_minor=1, currency="EUR")


def told(server: Server, what: str) -> list[float]:
    """Of each stage: `count`, calls that were measured, or `sum`, their seconds."""
    return [server.metric(f'bennu_stage_seconds_{what}{{stage="{stage}"}}') for stage in STAGES]


def test_stages_follow_one_another_without_a_gap() -> None:
    """Their sum is the time from arrival to answer, whatever it was."""
    path = Path()
    for mark in (path.lined, path.begun, path.begun, path.decided):
        mark()
    path.effective(Sealing(path.decided_s + 1, path.decided_s + 3))
    path.effective_s = path.decided_s + 7
    took_s = path.stages_s(path.arrived_s + 20)
    assert len(took_s) == len(STAGES)
    assert sum(took_s) == pytest.approx(20)
    assert dict(zip(STAGES, took_s, strict=True))["encode"] == pytest.approx(2)
    assert dict(zip(STAGES, took_s, strict=True))["append"] == pytest.approx(4)


def test_what_changes_nothing_waits_for_no_batch() -> None:
    """A repeated command may be answered by what was sealed long before."""
    path = Path()
    for mark in (path.lined, path.begun, path.decided):
        mark()
    path.effective(Sealing(path.arrived_s - 9, path.arrived_s - 8))
    assert min(path.stages_s(path.effective_s)) >= 0


def test_one_that_comes_in_line_again_has_the_times_of_the_last_time() -> None:
    """Its leader may have given up, and it is decided anew."""
    path = Path()
    for _ in range(2):
        path.lined()
        path.begun()
    path.decided()
    path.effective(Sealing(path.decided_s, path.decided_s))
    assert min(path.stages_s(path.effective_s)) >= 0


def test_one_call_in_sixteen_is_measured_and_only_whole() -> None:
    """What was refused, or answered elsewhere, has no stages here."""
    paths = Paths(Metrics())
    sampled = [paths.sample() for _ in range(3 * EVERY)]
    assert sum(path is not None for path in sampled) == 3
    for path in sampled:
        paths.answered(path)


@pytest.fixture(scope="module")
def measured(server: Server) -> Server:
    """One that has answered commands and frames."""
    server.ask(OPEN)
    before = told(server, "count")
    for _ in range(2 * EVERY):
        server.ask(DEPOSIT)
    answers(server, (frame(n, [DEPOSIT] * 10) for n in range(2 * EVERY)))
    assert told(server, "count") == [count + 4 for count in before]
    return server


def test_all_stages_are_told_of_each_measured_call(measured: Server) -> None:
    """Commands and frames alike; an append takes time."""
    seconds = dict(zip(STAGES, told(measured, "sum"), strict=True))
    assert min(seconds.values()) >= 0
    assert seconds["append"] > 0


def test_top_shows_them(measured: Server, tmp_path: Folder) -> None:
    """For programs, one line a look; and it says what is no operations port."""
    top = "top", measured.process.announced["ops"], "--looks", "1", "--every-s", "0.2"
    (found,) = json.loads(run([*top, "--json"], folder=tmp_path).out)
    assert (found["process"], found["bottleneck"]) == (top[1], "its callers: no commands came")
    shown = run(top, folder=tmp_path).out
    assert f"{top[1]} is limited by its callers: no commands came" in shown
    assert all(stage in shown for stage in STAGES)
    wrong = run(["top", measured.process.announced["grpc"]], folder=tmp_path)
    assert "is it the operations port" in wrong.error
