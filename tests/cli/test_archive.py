"""`bennu archive`, `bennu archive verify` and `bennu restore`, as a shell has them."""

import asyncio
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bennu import log as bennu_log
from tests.archive.bank import TOPICS, Bank
from tests.cli.shell import BANK, Ended, Shell
from tests.cli.shell import run as run_command
from tests.journal_writer import JournalWriter
from tests.log.helpers import bodies


async def make(url: str) -> None:
    """A bank's log of a few records."""
    async with bennu_log.open(url) as log:
        bank, chance = Bank(log), Random(4)
        await bank.open()
        for _ in range(12):
            await bank.step(chance)


async def held(url: str) -> dict[str, list[bytes]]:
    """All of it."""
    async with bennu_log.open(url) as log:
        return {topic: await bodies(log, topic) for topic in TOPICS}


def said_by(ended: Ended) -> list[dict[str, Any]]:
    """Its lines, each an object."""
    return [json.loads(line) for line in ended.out.splitlines()]


@pytest.fixture
def log_url(tmp_path: Path) -> str:
    url = f"sqlite:{tmp_path / 'log'}"
    asyncio.run(make(url))
    return url


@pytest.fixture
def archived(tmp_path: Path, log_url: str) -> Path:
    """A folder with all of it, copied by the command."""
    folder = tmp_path / "archive"
    command = ("archive", "--app", BANK, "--log", log_url, "--to", folder, "--once")
    ended = run_command(command, folder=tmp_path)
    assert ended.code == 0, ended.err
    said = said_by(ended)
    assert said[0]["service"] == "archiver"
    ends = {line["topic"]: (line["from"], line["to"]) for line in said[1:]}
    assert ends == {topic: (0, len(found)) for topic, found in asyncio.run(held(log_url)).items()}
    return folder


def test_what_was_archived_is_restored(bennu: Shell, tmp_path: Path, archived: Path, log_url: str) -> None:
    """One command copies all there is, one checks it, one builds the same log from it and says what is lost."""
    verified = run_command(("archive", "verify", "--from", archived), folder=tmp_path)
    assert verified.code == 0
    other = f"sqlite:{tmp_path / 'other'}"
    restored = bennu("restore", "--from", archived, "--log", other)
    assert restored.code == 0, restored.err
    assert asyncio.run(held(other)) == asyncio.run(held(log_url))
    for topic, found in asyncio.run(held(other)).items():
        last = len(found) - 1
        assert f"what came after {last} is lost" in restored.out
        assert topic in restored.out
        assert topic in verified.out


def test_a_spoilt_archive_is_refused_by_both(tmp_path: Path, archived: Path) -> None:
    """Exit code 70 and the name of file and offset, and no topic is made."""
    (path,) = (archived / TOPICS[0]).glob("*.open")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for command in (("archive", "verify"), ("restore", "--log", f"sqlite:{tmp_path / 'other'}")):
        ended = run_command((*command, "--from", archived), folder=tmp_path)
        assert ended.code == 70
        assert f"{path}, offset" in ended.error
    assert not (tmp_path / "other").exists()


def test_what_is_not_there_is_said_and_what_was_archived_must_be(tmp_path: Path, archived: Path, log_url: str) -> None:
    """A topic that nobody made is named; one that the archive knows and the log does not ends the command."""
    more = ("archive", "--app", BANK, "--log", log_url, "--to", tmp_path / "more", "--once")
    (tmp_path / "log" / "bank-saga-0.sqlite").unlink()
    ended = run_command(more, folder=tmp_path)
    assert ended.code == 0, ended.err
    assert [line["topic"] for line in said_by(ended) if "missing" in line] == ["bank-saga-0"]
    again = run_command(("archive", "--app", BANK, "--log", log_url, "--to", archived, "--once"), folder=tmp_path)
    assert again.code == 70
    assert "records of it are archived" in again.err


def test_a_backup_of_nothing_fails(tmp_path: Path) -> None:
    """A misspelt log has no topic of the app: --once says so, with an exit code that a script heeds."""
    log = f"sqlite:{tmp_path / 'typo'}"
    ended = run_command(
        ("archive", "--app", BANK, "--log", log, "--to", tmp_path / "archive", "--partitions", 2, "--once"),
        folder=tmp_path,
    )
    assert ended.code == 70
    assert "there is nothing to archive: the log has none of bank-events-0 to bank-saga-1" in ended.err
    assert not (tmp_path / "typo").exists()


def test_a_backup_of_a_log_that_is_away_fails_in_a_sentence(tmp_path: Path) -> None:
    """Exit code 1, which a script heeds, and who is away; no traceback."""
    command = ("archive", "--app", BANK, "--log", "rocketmq://127.0.0.1:1", "--to", tmp_path / "archive", "--once")
    ended = run_command(command, folder=tmp_path)
    last = json.loads(ended.err.splitlines()[-1])
    assert (ended.code, last["event"], last["error"]) == (1, "stopped", "Unavailable")
    assert last["reason"].startswith("bank-events-0: nothing for ")


def test_ends_that_were_lost_stop_every_command(tmp_path: Path, archived: Path, log_url: str) -> None:
    """Exit code 70 and what is lost, and nothing is touched."""
    (archived / "ends").unlink()
    before = {path: path.read_bytes() for path in archived.rglob("*") if path.is_file()}
    for command in (
        ("archive", "verify", "--from", archived),
        ("restore", "--log", f"sqlite:{tmp_path / 'other'}", "--from", archived),
        ("archive", "--app", BANK, "--log", log_url, "--to", archived, "--once"),
    ):
        ended = run_command(command, folder=tmp_path)
        assert ended.code == 70
        assert f"{archived / 'ends'} is lost, but there are segments of bank-commands-0, " in ended.err
        assert "Traceback" not in ended.err
    assert {path: path.read_bytes() for path in archived.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("partitions", "code", "said"),
    [
        (1, 78, "bank-events-0: the app has 2 partitions, but this process was told 1; "),
        (2, 70, "bank-events-1.sqlite, but bank-events-0 says that the app has it: it is lost"),
    ],
)
def test_a_backup_of_a_part_fails(tmp_path: Path, partitions: int, code: int, said: str) -> None:
    """The journals say how many there are: neither is one left out, nor one that is lost passed over."""
    log = f"sqlite:{tmp_path / 'log'}"
    asyncio.run(begun(log, "bank-events-0", partitions=2))
    command = ("archive", "--app", BANK, "--log", log, "--to", tmp_path / "archive", "--partitions", partitions)
    ended = run_command((*command, "--once"), folder=tmp_path)
    assert ended.code == code
    assert said in ended.err


async def begun(url: str, topic: str, *, partitions: int) -> None:
    """A journal with its first record."""
    async with bennu_log.open(url) as log:
        await log.create(topic)
        await JournalWriter(log, topic, partitions=partitions).epoch()


def test_a_folder_without_an_archive_is_an_error(tmp_path: Path) -> None:
    """Neither is it called whole, nor is nothing restored from it."""
    (tmp_path / "empty").mkdir()
    other = f"sqlite:{tmp_path / 'other'}"
    for command in (("archive", "verify"), ("restore", "--log", other)):
        ended = run_command((*command, "--from", "empty"), folder=tmp_path)
        assert (ended.code, ended.out) == (78, "")
        assert ended.error == "empty: nothing is archived there"


def test_an_archive_that_is_not_there_is_no_archive(bennu: Shell, tmp_path: Path) -> None:
    """A misspelt folder is an error, not an empty archive, also for a service that is told of it."""
    ended = bennu("restore", "--from", tmp_path / "nowhere", "--log", f"sqlite:{tmp_path / 'log'}")
    assert ended.code == 78
    assert "no folder" in ended.error
    served = run_command(("cserver", "--app", BANK, "--archive", tmp_path / "nowhere"), folder=tmp_path)
    assert served.code == 78
    assert "archive: no folder" in served.err
