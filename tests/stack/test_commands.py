"""`bennu stack`: one supervisor in the background, whose death ends all."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bennu.errors import BadSettings
from bennu.stack.ports import is_free
from bennu.stack.state import State, held, is_held, read_state, write_state
from tests.stack.processes import alive, environment, until


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where every user may enter, and nothing runs afterwards."""
    with TemporaryDirectory(prefix="bennu-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name) / "stack"
        run("down", Path(name) / "stack")


def command_line(command: str, folder: Path, *more: str) -> list[str]:
    """The command on a folder."""
    return [sys.executable, "-m", "bennu.cli.main", "stack", command, "--dir", str(folder), *more]


def run(command: str, folder: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """Run it to its end, as a process of its own: what it leaves in the background is nobody's child."""
    return subprocess.run(
        command_line(command, folder, *more),
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def postgres_port(told: str) -> int:
    """The port in what `--json` printed."""
    dsn: str = json.loads(told)["postgres_dsn"]
    return int(dsn.rpartition(":")[2].partition("/")[0])


@pytest.mark.real
def test_up_status_down(folder: Path) -> None:
    """The addresses are printed, the same by `up` and `status`; `down` ends it, and its data stays."""
    up = run("up", folder, "--log", "sqlite", "--json")
    assert up.returncode == 0, up.stderr
    assert json.loads(up.stdout)["log_url"] == f"sqlite:{folder}/log"
    assert json.loads(run("status", folder, "--json").stdout) == json.loads(up.stdout)
    assert "postgres_dsn" in run("status", folder).stdout
    again = run("up", folder, "--log", "sqlite", "--json")
    assert (again.returncode, again.stdout) == (0, up.stdout)
    assert "is up already" in again.stderr
    other = run("up", folder, "--log", "rocketmq")
    assert other.returncode == 78
    assert "take it down first" in other.stderr
    assert run("down", folder).returncode == 0
    assert is_free(postgres_port(up.stdout))
    assert (folder / "postgres").exists()


@pytest.mark.real
def test_kill_9_of_the_supervisor_ends_all(folder: Path) -> None:
    """Its death, however it comes, leaves no process and no wrong status."""
    up = run("up", folder, "--log", "sqlite", "--json")
    state = read_state(folder)
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    until(lambda: is_free(postgres_port(up.stdout)))
    assert run("status", folder).returncode == 1
    assert run("up", folder, "--log", "sqlite").returncode == 0


@pytest.mark.real
def test_ctrl_c_while_it_starts_leaves_nothing(folder: Path) -> None:
    """A start that is interrupted is undone."""
    command = command_line("up", folder, "--log", "sqlite")
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as up:
        until(lambda: read_state(folder))
        state = read_state(folder)
        assert state is not None
        up.send_signal(signal.SIGINT)
        assert up.wait(20) != 0
    until(lambda: not alive(state.pid))
    assert not is_held(folder)


def test_status_of_nothing_is_an_error(tmp_path: Path) -> None:
    """Exit status 1, and a line that says what to do."""
    result = run("status", tmp_path)
    assert result.returncode == 1
    assert "is not up: start it with `bennu stack up`" in result.stderr
    assert result.stdout == ""


def test_down_of_nothing_is_done_already(tmp_path: Path) -> None:
    """Asking twice is no mistake."""
    assert run("down", tmp_path).returncode == 0


def test_a_log_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    """Wrong usage shows what is right."""
    result = run("up", tmp_path, "--log", "kafka")
    assert result.returncode == 2
    assert "rocketmq" in result.stderr


def test_a_failed_start_shows_why(tmp_path: Path) -> None:
    """The supervisor's own words reach the person who asked."""
    (tmp_path / "postgres").write_text("in the way")
    result = run("up", tmp_path, "--log", "sqlite")
    assert result.returncode == 1
    assert "the stack did not start" in result.stderr
    assert "in the way" in result.stderr or "postgres" in result.stderr


def test_a_folder_has_one_supervisor(tmp_path: Path) -> None:
    """A second one is refused, and what a dead one wrote does not count."""
    state = State(os.getpid(), "sqlite", ready=True, addresses={"log_url": "sqlite:x"})
    with held(tmp_path):
        write_state(tmp_path, state)
        assert read_state(tmp_path) == state
        with pytest.raises(BadSettings, match="is up already"), held(tmp_path):
            pytest.fail("two supervisors")
    write_state(tmp_path, state)
    assert read_state(tmp_path) is None
