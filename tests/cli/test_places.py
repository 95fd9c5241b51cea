"""What a command says of a folder that it can't use: one sentence, before anything starts."""

import json
from pathlib import Path

import pytest

from tests.cli.shell import BANK, Shell, run

NEVER = ("in-the-way", "in-the-way/below", "/dev/null/x")


@pytest.fixture
def folder(bennu: Shell) -> Path:
    """The current one, with a file in the way."""
    (bennu.folder / "in-the-way").write_text("")
    return bennu.folder


@pytest.mark.parametrize("place", NEVER)
@pytest.mark.parametrize("command", [("dev",), ("stack", "up", "--log", "sqlite")])
def test_a_folder_that_cannot_be(folder: Path, command: tuple[str, ...], place: str) -> None:
    """A file in the place, or above it: named, with what stands in the way."""
    told = run([*command, "--dir", place], folder=folder)
    assert (told.code, told.out) == (78, "")
    assert told.error.startswith("--dir: ")
    assert place in told.error
    assert "\n" not in told.error


@pytest.mark.parametrize("place", NEVER)
def test_an_archive_that_cannot_be(folder: Path, place: str) -> None:
    """The archiver stops with a reason, as for any setting that makes no sense; it does not crash."""
    told = run(["archive", "--app", BANK, "--to", place], folder=folder)
    assert (told.code, told.out) == (78, "")
    said = json.loads(told.err)
    assert (said["event"], said["error"]) == ("stopped", "BadSettings")
    assert said["reason"].startswith("archive: ")
    assert place in said["reason"]


LOGS = {"sqlite": "log/bank-events-0.sqlite", "rocketmq": "rocketmq/store/commitlog/00000000000000000000"}


@pytest.mark.parametrize(
    ("used", "asked"), [("sqlite", "rocketmq"), ("sqlite", "rocketmq-local"), ("rocketmq", "sqlite")]
)
@pytest.mark.parametrize("command", [("dev",), ("stack", "up")])
def test_a_folder_of_another_log(bennu: Shell, command: tuple[str, ...], used: str, asked: str) -> None:
    """Its tables hold positions in that log: the log is named, another folder is advised, and nothing starts."""
    record = bennu.folder / "data" / LOGS[used]
    record.parent.mkdir(parents=True)
    record.write_bytes(b"")
    told = run([*command, "--dir", "data", "--log", asked], folder=bennu.folder)
    assert (told.code, told.out) == (78, "")
    assert f"data was used with --log {used}, and what its Postgres holds belongs to that log: " in told.error
    assert told.error.endswith(f"say --log {used}, or name another folder with --dir for {asked}")
    assert not (bennu.folder / "data" / "postgres").exists()
