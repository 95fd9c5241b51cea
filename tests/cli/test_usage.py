"""What any command says to somebody who mistypes, asks for help, or interrupts it."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from bennu.errors import AppendUnknown, BadSettings, Diverged, JournalBroken, RecordBroken, TopicMissing, Unavailable
from tests.cli.shell import BANK, BENNU, Shell, environment, run

COMMANDS = (
    *("cserver", "qserver", "saga", "demo", "simulate", "bench", "dev", "version"),
    *("topics", "journal", "protos", "sagas", "deadletters", "stack"),
)


def test_help_names_every_command(bennu: Shell) -> None:
    """`bennu --help` shows all there is, and is no error."""
    told = bennu("--help")
    assert (told.code, told.err) == (0, "")
    assert [name for name in COMMANDS if f" {name} " not in told.out] == []


@pytest.mark.parametrize("group", [[], ["topics"], ["journal"], ["protos"], ["sagas"], ["deadletters"], ["stack"]])
def test_a_group_alone_shows_its_commands(bennu: Shell, group: list[str]) -> None:
    """Without a command there is nothing to do: the help, and exit code 2."""
    told = bennu(*group)
    assert (told.code, told.err) == (2, "")
    assert "Usage: " in told.out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["versoin"], "Did you mean 'version'?"),
        (["topics", "crate"], "Did you mean 'create'?"),
        (["version", "--jsn"], "--json"),
        (["topics", "list", "--ap", BANK], "--app"),
        (["topics", "list"], "Missing option '--app'"),
        (["topics", "create", "--app", BANK, "--partitions", "0"], "--partitions"),
        (["topics", "create", "--app", BANK, "--partitions", "many"], "--partitions"),
        (["topics", "create", "--app", BANK, "--partitions", "1025"], "--partitions"),
        (["journal", "dump"], "Missing option '--topic'"),
        (["journal", "dump", "--topic", "x", "--from", "-1"], "--from"),
        (["journal", "verify", "--topics", "x"], "--topic"),
        (["protos", "export"], "Missing argument 'DIR'"),
        (["dev", "--log", "kafka"], "sqlite"),
        (["dev", "--partition", "2"], "--partitions"),
        (["stack", "up", "--log", "kafka"], "sqlite"),
    ],
)
def test_wrong_usage_is_one_message_with_a_hint(bennu: Shell, arguments: list[str], hint: str) -> None:
    """A word that is not known, missing or out of range: exit code 2, and what would be right."""
    told = bennu(*arguments)
    assert (told.code, told.out) == (2, "")
    assert hint in told.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unavailable("away"), 1),
        (AppendUnknown("away"), 1),
        (TopicMissing("not there"), 1),
        (JournalBroken("a gap"), 70),
        (RecordBroken("a bit"), 70),
        (Diverged("states differ"), 70),
        (BadSettings("nonsense"), 78),
    ],
)
def test_the_exit_code_says_what_kind_of_failure_it_was(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    """1: not so, or away; 70: something is broken; 78: the settings; and the message begins with the error's own."""
    bennu = Shell(capsys, monkeypatch, Path.cwd())

    def fails() -> str:
        raise error

    monkeypatch.setattr("bennu.cli.version.versions", fails)
    told = bennu("version")
    assert (told.code, told.error.partition(";")[0]) == (code, str(error))


def test_ctrl_c_is_130(bennu: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a shell reports it of any program."""

    def interrupted() -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("bennu.cli.version.versions", interrupted)
    assert bennu("version") == (130, "", "interrupted\n")


def test_a_mistake_of_ours_keeps_its_traceback(bennu: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Bennu does not name is a bug, and whoever reports it needs to see where."""

    def wrong() -> str:
        raise ZeroDivisionError

    monkeypatch.setattr("bennu.cli.version.versions", wrong)
    with pytest.raises(ZeroDivisionError):
        bennu("version")


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    """`bennu … | head` ends in silence."""
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [*BENNU, "version", "--json"], stdout=writer, stderr=subprocess.PIPE, env=environment(), cwd=tmp_path
    ) as process:
        os.close(writer)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, b"")


@pytest.mark.parametrize("name", ["cserver", "qserver", "saga", "demo", "simulate", "bench"])
def test_a_program_has_its_own_help(tmp_path: Path, name: str) -> None:
    """`bennu NAME --help` is the program's, from whichever folder it is called."""
    told = run([name, "--help"], folder=tmp_path)
    assert (told.code, told.err) == (0, "")
    assert "usage" in told.out.lower()


@pytest.mark.parametrize("name", ["cserver", "qserver", "saga"])
def test_a_service_refuses_a_flag_that_nobody_knows(tmp_path: Path, name: str) -> None:
    """`bennu cserver` becomes the service: exit code and message are its own."""
    told = run([name, "--ap", BANK], folder=tmp_path)
    assert (told.code, told.out) == (78, "")
    assert "did you mean --app?" in told.err


@pytest.mark.parametrize("command", [("dev", "--dir", "data"), ("cserver", "--app", BANK)])
def test_a_port_that_is_taken(tmp_path: Path, command: tuple[str, ...]) -> None:
    """`bennu dev` and the service itself say the same: where, why, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = run([*command, "--grpc", address], folder=tmp_path)
    assert (told.code, told.out) == (78, "")
    (line,) = told.err.splitlines()
    reason = json.loads(line)["reason"] if line.startswith("{") else told.error
    assert reason == (
        f"grpc: can't listen on {address}: it is in use.  Stop what listens there, or name another address: "
        "--grpc 127.0.0.1:0 takes a free port"
    )


def test_simulate_runs_a_seed(tmp_path: Path) -> None:
    """`bennu simulate` passes its flags on, and says what it found."""
    told = run(["simulate", "--seed", "7"], folder=tmp_path)
    assert (told.code, told.err) == (0, "")
    assert "seed 7: all held" in told.out


def test_a_part_of_the_checkout_that_is_not_there(bennu: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package has no demonstration: that is said, not looked for."""
    monkeypatch.setattr("bennu.cli.programs.ROOT", bennu.folder)
    told = bennu("demo")
    assert told.code == 78
    assert "needs a checkout" in told.error
