"""A server lives exactly as long as the process that owns it."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from bennu.errors import Unavailable
from tests.stack.processes import alive, environment, numbers_in, python, shell, until

SERVE = "echo ready; exec sleep 600"
OWNER = """
import sys, time
from pathlib import Path
from tests.stack.processes import shell
folder = Path(sys.argv[1])
child = shell("sleep 600 & echo $! > helper; echo ready; wait".replace("helper", str(folder / "helper")), folder)
child.start()
(folder / "server").write_text(f"{child.pid}\\n")
time.sleep(600)
"""


def test_start_returns_when_it_serves_and_kill_when_it_is_gone(tmp_path: Path) -> None:
    """A server can be killed and started again, any number of times."""
    child = shell("sleep 0.1; " + SERVE, tmp_path)
    for _ in range(3):
        child.start()
        pid = child.pid
        assert alive(pid)
        child.kill()
        assert not alive(pid)
        assert not child.running


def test_start_and_kill_are_harmless_twice(tmp_path: Path) -> None:
    """Starting what runs and killing what does not run change nothing."""
    child = shell(SERVE, tmp_path)
    child.kill()
    child.start()
    pid = child.pid
    child.start()
    assert child.pid == pid
    child.kill()
    child.kill()


def test_a_signal_for_what_is_being_killed_is_harmless(tmp_path: Path) -> None:
    """Ctrl-C ends a drill also in the moment in which one of its threads kills a node."""
    child = shell(SERVE, tmp_path)
    child.start()
    waited: list[float] = []

    def ended_within(timeout_s: float) -> bool:
        child.send(signal.SIGCONT)  # between the order to kill and its end
        child.send(signal.SIGTERM)
        waited.append(timeout_s)
        return type(child)._ended_within(child, timeout_s)

    child._ended_within = ended_within  # type: ignore[method-assign]
    child.kill()
    assert len(waited) == 1
    assert not child.running


def test_a_server_that_ended_by_itself_can_be_started_again(tmp_path: Path) -> None:
    """A crash is like a kill."""
    child = shell(SERVE, tmp_path)
    child.start()
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: not child.running)
    child.start()
    assert alive(child.pid)
    child.kill()


def test_a_server_that_ends_before_it_serves_shows_its_last_lines(tmp_path: Path) -> None:
    """The error tells what the program said."""
    child = shell("echo 'the disk is full'; exit 3", tmp_path)
    with pytest.raises(Unavailable, match=r"(?s)shell ended before it was ready.*the disk is full"):
        child.start()


def test_a_server_that_may_boot_several_times_is_started_again_so_often(tmp_path: Path) -> None:
    """What ends early because another server is not there yet gets as many chances as were said, and no more."""
    script = f"echo >> {tmp_path}/boots; [ $(wc -l < {tmp_path}/boots) -lt 3 ] && exit 1; " + SERVE
    child = shell(script, tmp_path, boots=2)
    with pytest.raises(Unavailable, match="ended before it was ready"):
        child.start()
    assert (tmp_path / "boots").read_text().count("\n") == 2
    child.start()
    assert child.running
    child.kill()


def test_a_server_that_never_serves_is_ended_at_the_deadline(tmp_path: Path) -> None:
    """A failed start leaves nothing over."""
    child = shell(f"echo $$ > {tmp_path}/server; exec sleep 600", tmp_path)
    with pytest.raises(Unavailable, match="was not ready after"):
        child.start(timeout_s=2)
    assert not alive(numbers_in(tmp_path, "server")[0])


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The error tells which program could not be run."""
    child = shell("exec /no/such/program", tmp_path)
    with pytest.raises(Unavailable, match="/no/such/program"):
        child.start()


def test_only_words_of_this_start_count(tmp_path: Path) -> None:
    """The readiness of an earlier life is not taken for this one's."""
    child = shell(f"test -e {tmp_path}/gone && exit 1; touch {tmp_path}/gone; {SERVE}", tmp_path)
    child.start()
    child.kill()
    with pytest.raises(Unavailable, match="ended before"):
        child.start()


def test_a_polite_stop_lets_the_server_finish(tmp_path: Path) -> None:
    """The signal reaches the server, and its grace is used."""
    child = shell(f"trap 'echo 1 > {tmp_path}/clean; exit' INT; echo ready; while :; do sleep 0.05; done", tmp_path)
    child.start()
    child.stop(signal.SIGINT, grace_s=30)
    assert numbers_in(tmp_path, "clean") == [1]
    assert not child.running


def test_a_stop_that_is_ignored_becomes_a_kill(tmp_path: Path) -> None:
    """The grace has an end."""
    child = shell("trap '' INT; echo ready; while :; do sleep 0.05; done", tmp_path)
    child.start()
    child.stop(signal.SIGINT, grace_s=0.2)
    assert not child.running


def test_kill_ends_what_the_server_started(tmp_path: Path) -> None:
    """No helper of a killed server holds its files or ports."""
    child = shell(f"sleep 600 & echo $! > {tmp_path}/helper; echo ready; wait", tmp_path)
    child.start()
    [helper] = numbers_in(tmp_path, "helper")
    assert alive(helper)
    child.kill()
    assert not alive(helper)


def test_kill_9_of_the_owner_ends_its_servers(tmp_path: Path) -> None:
    """Nothing outlives its owner, though the owner has no time to clean up."""
    with subprocess.Popen([*python(OWNER), str(tmp_path)], env=environment()) as owner:
        everyone = numbers_in(tmp_path, "server") + numbers_in(tmp_path, "helper")
        assert all(map(alive, everyone))
        owner.kill()
    until(lambda: not any(map(alive, everyone)))


def test_kill_9_of_the_guard_ends_the_server(tmp_path: Path) -> None:
    """The guard between owner and server cannot be taken away."""
    child = shell(SERVE, tmp_path)
    child.start()
    pid = child.pid
    guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    until(lambda: not alive(pid))
    child.kill()


def test_ctrl_c_reaches_the_owner_alone(tmp_path: Path) -> None:
    """A server is not in the terminal's process group, so that the owner decides the order of ending."""
    child = shell(SERVE, tmp_path)
    child.start()
    assert os.getpgid(child.pid) != os.getpgid(0)
    child.kill()
