"""`bennu deadletters`, beside the loops of a QServer and a real Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from tests.cli.shell import BANK, Ended, Shell, run
from tests.qserver.letters import Letters
from tests.qserver.loops import looping
from tests.qserver.poison import APP, MENDED_APP, deposited
from tests.qserver.serving import connected

REASON = ("--reason", "because")
LETTER = "bank/cells/1/0"


class Parked(NamedTuple):
    """A database with dead letters, and the command line beside it."""

    folder: Path
    dsn: str
    world: Letters
    connection: "asyncpg.Connection[asyncpg.Record]"

    async def __call__(self, *arguments: object) -> Ended:
        """`bennu deadletters`, with these."""
        command = ["deadletters", *arguments]
        return await asyncio.to_thread(run, command, folder=self.folder, environ={"BENNU_POSTGRES": self.dsn})

    async def states(self) -> list[str]:
        """Of all letters, in order."""
        return [
            row["state"] for row in await self.connection.fetch("SELECT state FROM bennu.dead_letters ORDER BY seq")
        ]


@asynccontextmanager
async def parked(folder: Path, dsn: str) -> AsyncIterator[Parked]:
    """Key `a`: null, good, range, good; key `b`: null.  Nothing projects inside the block."""
    world = Letters(dsn)
    await world.create()
    await world.say(
        deposited("a", "null"), deposited("a"), deposited("b", "null"), deposited("a", "range"), deposited("a")
    )
    async with connected(dsn) as connection:
        async with world.looping():
            await world.settled(connection)
        yield Parked(folder, dsn, world, connection)


Body = Callable[[Parked], Coroutine[Any, Any, None]]


def with_parked(folder: Path, dsn: str, body: Body) -> None:
    """Do this with dead letters."""

    async def work() -> None:
        async with parked(folder, dsn) as there:
            await body(there)

    asyncio.run(work())


@pytest.mark.real
def test_letters_are_listed_and_shown(tmp_path: Path, database: str) -> None:
    """What is wrong with the event at fault, what waits behind it, and what the event says if an app is given."""

    async def body(there: Parked) -> None:
        told = await there("list", "--json")
        found = [json.loads(line) for line in told.out.splitlines()]
        assert [row["letter"] for row in found] == [f"{LETTER}/{seq}" for seq in range(1, 6)]
        assert [bool(row["problem"]) for row in found] == [True, False, True, False, False]
        assert "column `note`: NULL" in (await there("list", "--key", "b")).out
        assert "left out" not in told.err + (await there("list", "--limit", "5")).err
        for arguments in (("--limit", "2"), ("--limit", "2", "--json")):
            assert "left out: 3 more; --limit" in (await there("list", *arguments)).err
        assert "left out: 2 more" in (await there("list", "--key", "a", "--limit", "2")).err
        shown = await there("show", f"{LETTER}/1", "--app", BANK, "--json")
        said = json.loads(shown.out)
        assert said["event_json"] == {"account": "a", "amount_minor": "1", "transfer": "null"}
        assert said["behind"] == [2, 4, 5]
        assert "column `note`" in (await there("show", f"{LETTER}/1")).out
        assert (await there("show", f"{LETTER}/9")).error == f"no letter {LETTER}/9 is there"

    with_parked(tmp_path, database, body)


@pytest.mark.real
def test_retry_applies_what_it_can(tmp_path: Path, database: str) -> None:
    """By mended rules, in order, up to one that is still at fault: exit code 1 while anything is parked, then 0."""

    async def body(there: Parked) -> None:
        async with looping(there.world.log, there.dsn, app=MENDED_APP):
            told = await there("retry", f"{LETTER}", *REASON)
            assert (told.code, await there.states()) == (1, ["applied", "applied", "applied", "parked", "parked"])
            assert (
                f"{LETTER} AccountRules a: 2 applied, 2 still parked, from seq 4 on: bank-events-0, seq 4" in told.out
            )
            assert f"{LETTER} AccountRules b: 1 applied, nothing is parked any more" in told.out
            assert "1 of 2 keys have events that are still parked" in told.error
            assert (await there("discard", f"{LETTER}/4", *REASON, "--yes")).code == 0
            assert (await there("retry", "--all", *REASON)).code == 0
            assert await there.states() == ["applied", "applied", "applied", "discarded", "applied"]
            why = "SELECT wished_reason FROM bennu.dead_letters WHERE seq = 4 AND ended_at IS NOT NULL"
            assert await there.connection.fetchval(why) == "because"

    with_parked(tmp_path, database, body)


@pytest.mark.real
def test_a_dry_run_changes_nothing(tmp_path: Path, database: str) -> None:
    """It prints where retry or discard would begin."""

    async def body(there: Parked) -> None:
        for what in ("retry", "discard"):
            told = await there(what, "--all", *REASON, "--dry-run")
            assert (told.code, told.out.count(LETTER)) == (0, 2)
        assert not await there.connection.fetchval("SELECT count(*) FROM bennu.dead_letters WHERE wish IS NOT NULL")

    with_parked(tmp_path, database, body)


@pytest.mark.real
def test_what_is_not_at_fault_is_not_discarded(tmp_path: Path, database: str) -> None:
    """An event that waits behind another one was never tried; the command says so."""

    async def body(there: Parked) -> None:
        told = await there("discard", f"{LETTER}/2", *REASON, "--yes")
        assert told.code == 1
        assert "never tried" in told.error
        assert await there.states() == ["parked"] * 5

    with_parked(tmp_path, database, body)


@pytest.mark.real
def test_a_wish_that_nobody_carries_out_is_told(tmp_path: Path, database: str) -> None:
    """Nothing projects: the wait is bounded, the wish stays, and a second one does not take its place."""

    async def body(there: Parked) -> None:
        told = await there("retry", f"{LETTER}/5", *REASON, "--wait-s", "0")
        assert (told.code, "once a QServer projects the partition" in told.error) == (1, True)
        assert "somebody's wish" in (await there("discard", f"{LETTER}/1", *REASON, "--yes")).error
        async with looping(there.world.log, there.dsn, app=APP):
            told = await there("retry", "--all", "--key", "b", *REASON)
        assert "AccountRules b: 1 still parked, from seq 3 on" in told.out

    with_parked(tmp_path, database, body)


@pytest.mark.real
def test_a_database_without_tables_is_told(bennu: Shell, database: str) -> None:
    """Where no QServer has ever been there are no letters, and the command says why."""
    bennu.setenv("BENNU_POSTGRES", database)
    assert "no QServer of this version has made its tables" in bennu("deadletters", "list").error


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["retry", *REASON], "--all"),
        (["retry", "bank", "--all", *REASON], "--all"),
        (["retry", "--all"], "--reason"),
        (["retry", "--all", "--reason", " "], "a decision has a reason"),
        (["list", "bank/cells/x"], "is no place"),
        (["show", "bank/cells"], "APP/PROJECTION/GENERATION/PARTITION/SEQ"),
    ],
)
def test_wrong_usage_is_told(bennu: Shell, arguments: list[str], hint: str) -> None:
    """Which events, and why, is always said."""
    told = bennu("deadletters", *arguments)
    assert told.code == 2
    assert hint in told.error
