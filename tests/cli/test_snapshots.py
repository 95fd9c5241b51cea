"""`bennu snapshot`, `bennu snapshot-sagas` and `bennu snapshots list`."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest

import bennu.log
from bennu.log.port import Log
from tests.cli.shell import BANK, Ended, Shell, run
from tests.journal_writer import Entry, JournalWriter
from tests.saga.story import Story
from tests.snapshots.replicas import TOPIC, Bank


class Journal:
    """The bank's, on the embedded log in this folder."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:{folder / 'log'}"
        self._bank: Bank | None = None

    def write(self, batches: int) -> int:
        """So many batches; the next offset."""

        async def work(log: Log) -> int:
            bank = Bank(log)
            if self._bank is None:
                await bank.begins()
            else:
                bank.writer.position = self._bank.writer.position
            await bank.writes(batches)
            self._bank = bank
            return bank.writer.position.offset

        return self.on(work)

    def write_sagas(self) -> int:
        """A saga under way; the next offset of its journal."""

        async def work(log: Log) -> int:
            story = Story()
            story.starts()
            writer = JournalWriter(log, "bank-saga-0")
            await log.create("bank-saga-0")
            await writer.epoch()
            await writer.batch([Entry("input", story.records)], recorded_at_us=1)
            return writer.position.offset

        return self.on(work)

    def on(self, work: Callable[[Log], Awaitable[int]]) -> int:
        """Do this with the log."""

        async def opened() -> int:
            async with bennu.log.open(self.url) as log:
                return await work(log)

        return asyncio.run(opened())


@pytest.fixture
def journal(bennu: Shell) -> Journal:
    """One in the shell's folder."""
    found = Journal(bennu.folder)
    bennu.setenv("BENNU_APP", BANK)
    bennu.setenv("BENNU_LOG", found.url)
    return found


def rows(told: Ended) -> list[dict[str, Any]]:
    """What `--json` printed, where all went well."""
    assert (told.code, told.err) == (0, "")
    return cast("list[dict[str, Any]]", told.json)


@pytest.mark.real
def test_each_snapshot_begins_where_the_one_before_it_ended(bennu: Shell, journal: Journal, database: str) -> None:
    """Only what came since is replayed, and where nothing came nothing is written."""
    bennu.setenv("BENNU_POSTGRES", database)
    first = journal.write(5)
    (taken,) = rows(bennu("snapshot", "--json"))
    assert (taken["topic"], taken["begun_offset"], taken["offset"], taken["batch_no"]) == (TOPIC, 0, first, 5)
    (again,) = rows(bennu("snapshot", "--json"))
    assert (again["begun_offset"], again["offset"], again["snapshot"]) == (first, first, None)
    second = journal.write(3)
    (more,) = rows(bennu("snapshot", "--partition", 0, "--json"))
    assert (more["begun_offset"], more["offset"], more["batch_no"]) == (first, second, 8)
    listed = rows(bennu("snapshots", "list", "--json"))
    assert [(each["snapshot"], each["offset"]) for each in listed] == [
        (more["snapshot"], second),
        (taken["snapshot"], first),
    ]
    assert listed[0]["bytes"] == more["bytes"]


@pytest.mark.real
def test_people_read_the_same(bennu: Shell, journal: Journal, database: str) -> None:
    """A line each: what was done, what is there, and what is wrong with it."""
    bennu.setenv("BENNU_POSTGRES", database)
    assert bennu("snapshots", "list").out == "no snapshot is there: `bennu snapshot` takes them\n"
    first = journal.write(5)
    assert f"{TOPIC}: snapshot 1 of " in (told := bennu("snapshot").out)
    assert f"at offset {first} (batch 5), read from 0" in told
    assert f"{TOPIC}: nothing new to take, at offset {first}" in bennu("snapshot").out
    assert f"offset {first}, batch 5" in bennu("snapshots", "list", "--app", BANK).out
    asyncio.run(_spoil_headers(database))
    assert "its header" in bennu("snapshots", "list").out


async def _spoil_headers(database: str) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute("UPDATE bennu.snapshots SET header = '\\x00'")
    await connection.close()


@pytest.mark.real
def test_sagas_have_snapshots_of_their_own(bennu: Shell, journal: Journal, database: str) -> None:
    """By the service's own package, since the command line imports none."""
    ended = journal.write_sagas()
    environ = {"BENNU_POSTGRES": database, "BENNU_APP": BANK, "BENNU_LOG": journal.url}
    for begun, written in ((0, 1), (ended, None)):
        (taken,) = rows(run(["snapshot-sagas", "--json"], folder=bennu.folder, environ=environ))
        assert (taken["topic"], taken["begun_offset"], taken["offset"]) == ("bank-saga-0", begun, ended)
        assert taken["snapshot"] == written


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["snapshot"], "postgres is missing: set BENNU_POSTGRES or BENNU_POSTGRES_FILE"),
        (["snapshots", "list"], "postgres is missing: set BENNU_POSTGRES or BENNU_POSTGRES_FILE"),
        (["snapshot", "--partition", 1], "--partition 1: there are 1, from 0 on"),
    ],
)
def test_what_makes_no_sense_is_named(bennu: Shell, journal: Journal, arguments: list[object], said: str) -> None:
    """Settings that are missing, and a partition that is not there."""
    told = bennu(*arguments)
    assert told.code == 78
    assert told.error.startswith(said)


@pytest.mark.real
def test_another_number_of_partitions_is_refused(bennu: Shell, journal: Journal, database: str) -> None:
    """The journal says how many there are."""
    bennu.setenv("BENNU_POSTGRES", database)
    journal.write(1)
    told = bennu("snapshot", "--partitions", 2, "--partition", 0)
    assert told.code == 78
    assert "say --partitions 1" in told.error


def test_postgres_that_is_away_is_told_at_once(bennu: Shell, journal: Journal) -> None:
    """Without a snapshot to write to, there is no sense in reading a journal."""
    bennu.setenv("BENNU_POSTGRES", "postgresql://u:hidden@127.0.0.1:1/none")
    journal.write(1)
    told = bennu("snapshot")
    assert told.code == 1
    assert "Postgres is away" in told.error
    assert "hidden" not in told.err
