"""`bennu demo`: the whole bank on the embedded log, counted three times; and it would notice what is wrong."""

import asyncio
import json
import os
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import asyncpg
import pytest

from bank import demo
from bank.demo_run import Plan, Result, Say, judge
from bank.demo_run import run as run_plan
from bank.scenario import LARGE_EVERY
from bennu.cli.told import run_told
from bennu.stack.suite import Suite
from tests.cli.running import Running, folder_for_all, running
from tests.stack.processes import alive

PLAN = Plan(accounts=200, transfers=300, clients=4, seed=1)
GOOD = Result(
    commands=700,
    transfers_completed=260,
    transfers_compensated=40,
    money_before=100,
    money_after=100,
    money_in_journal=100,
    money_in_postgres=100,
    transfers_with_fee=5,
    fees_in_memory=7,
    fees_in_journal=7,
    fees_in_postgres=7,
    fees_due=7,
    tables_match=True,
)


def judged(result: Result) -> list[str]:
    """The problems that are found in it."""
    found = replace(result, problems=[])
    judge(PLAN, found)
    return found.problems


def test_what_adds_up_is_no_problem() -> None:
    """All transfers ended, and the same money everywhere."""
    assert judged(GOOD) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"transfers_completed": 259}, "300 transfers were asked for, 299 ended"),
        ({"transfers_refused": 1}, "300 transfers were asked for, 301 ended"),
        ({"money_after": 99}, "100 was paid in, but memory holds 99"),
        ({"money_in_journal": 101}, "100 was paid in, but the journal holds 101"),
        ({"money_in_postgres": 0}, "100 was paid in, but Postgres holds 0"),
        ({"fees_in_memory": 6}, "completed transfers cost 7, but memory has 6 of fees"),
        ({"fees_in_journal": 8}, "completed transfers cost 7, but the journal has 8 of fees"),
        ({"fees_in_postgres": 0}, "completed transfers cost 7, but Postgres has 0 of fees"),
    ],
)
def test_whatever_does_not_add_up_is_a_problem(changes: dict[str, Any], problem: str) -> None:
    """Each count is looked at by itself, and its problem says both numbers."""
    (found,) = judged(replace(GOOD, **changes))
    assert problem in found


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the demonstration makes its temporary folder."""
    with folder_for_all() as found:
        (found / "tmp").mkdir(mode=0o711)
        yield found


def started(folder: Path, *flags: str) -> AbstractContextManager[Running]:
    """The demonstration as a process."""
    flags = ("--accounts", str(PLAN.accounts), "--json", *flags)
    return running(folder, "demo", *flags, environ={"TMPDIR": str(folder / "tmp")})


def left_over(folder: Path, below: Mapping[int, str]) -> list[object]:
    """Processes of it that live, and files that it has not removed."""
    lives = [command for pid, command in below.items() if alive(pid)]
    return [*lives, *(folder / "tmp").iterdir()]


@pytest.mark.real
def test_the_demonstration_adds_up(folder: Path) -> None:
    """Exit code 0; some transfers were paid back, some cost a fee, no money was lost, nothing is left."""
    with started(folder, "--transfers", str(PLAN.transfers)) as command:
        output = command.read_until("asking for")
        below = command.below()
        output += command.lines()
        assert command.wait() == 0, command.errors()
        assert (command.errors(), left_over(folder, below)) == ("", [])
    assert any("1 payee_blocked" in line for line in output)
    numbers = json.loads(output[-1])
    assert numbers["transfers_with_fee"] == PLAN.transfers // LARGE_EVERY - 1  # one is to a blocked payee
    assert numbers["fees_due"] == numbers["fees_in_memory"] == numbers["fees_in_postgres"] > 0
    assert numbers["transfers_completed"] + numbers["transfers_compensated"] == PLAN.transfers
    assert numbers["transfers_compensated"] > 0
    assert numbers["commands"] > PLAN.accounts + PLAN.transfers
    assert numbers["money_before"] == numbers["money_after"] > 0
    assert (numbers["tables_match"], numbers["problems"]) == (True, [])
    assert numbers["seconds_to_first_reply"] > 0


@pytest.mark.real
def test_ctrl_c_half_way_leaves_nothing(folder: Path) -> None:
    """Exit code 130, no process and no temporary folder."""
    with started(folder, "--transfers", "1000000") as command:
        command.read_until("asking for")
        below = command.below()
        command.interrupt()
        assert command.wait() == 130
        assert (command.errors(), left_over(folder, below)) == ("interrupted\n", [])


@pytest.mark.real
def test_a_part_that_ends_ends_the_demonstration(folder: Path) -> None:
    """It does not wait for answers that nobody will give: exit code 1, and who has ended."""
    with started(folder, "--transfers", "1000000") as command:
        command.read_until("asking for")
        below = command.below()
        os.kill(next(pid for pid, line in below.items() if "-m bennu_qserver" in line and "guard.py" not in line), 9)
        assert command.wait() == 1
        assert command.errors().startswith("error: qserver has ended, so the demonstration can't go on:")
        assert left_over(folder, below) == []


@pytest.mark.real
@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE bank.accounts_g1 SET balance_minor = balance_minor + 1 WHERE account = 'acc-00000'", "acc-00000"),
        ("DELETE FROM bank.transfers_g1 WHERE transfer = 't-1-000007'", "t-1-000007"),
    ],
)
def test_a_table_that_was_tampered_with_is_noticed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, statement: str, problem: str
) -> None:
    """Exit code 1: the row is named, the other counts are not blamed."""

    async def spoilt(plan: Plan, suite: Suite, *, say: Say) -> Result:
        def saying(text: str) -> None:
            say(text)
            if text.startswith("comparing"):
                in_a_thread(execute(suite.dsn, statement))

        return await run_plan(plan, suite, say=saying)

    monkeypatch.setattr(demo, "run", spoilt)
    code = run_told(demo.build, ["--accounts", "100", "--transfers", "20", "--json"], name="bennu demo")
    told = capfd.readouterr()
    assert code == 1
    # In a process that called gRPC before, gRPC itself may say a word when programs are started.
    said = [line for line in told.err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, told.err
    assert problem in told.err
    numbers = json.loads(told.out.splitlines()[-1])
    assert numbers["tables_match"] is False
    assert numbers["money_before"] == numbers["money_after"] == numbers["money_in_journal"]


def in_a_thread(work: Coroutine[Any, Any, None]) -> None:
    """Do it now, although this thread's loop is at work."""
    thread = Thread(target=asyncio.run, args=(work,))
    thread.start()
    thread.join()


async def execute(dsn: str, statement: str) -> None:
    """Behind the back of everybody."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        assert (await connection.execute(statement)).endswith(" 1")
    finally:
        await connection.close()
