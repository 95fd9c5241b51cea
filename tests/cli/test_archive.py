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


def test_an_archive_that_is_not_there_is_no_archive(bennu: Shell, tmp_path: Path) -> None:
    """A misspelt folder is an error, not an empty archive, also for a service that is told of it."""
    ended = bennu("restore", "--from", tmp_path / "nowhere", "--log", f"sqlite:{tmp_path / 'log'}")
    assert ended.code == 78
    assert "no folder" in ended.error
    served = run_command(("cserver", "--app", BANK, "--archive", tmp_path / "nowhere"), folder=tmp_path)
    assert served.code == 78
    assert "archive: no folder" in served.err
