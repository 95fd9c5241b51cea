"""The supervisor: exit codes, what is said at an end, and which addresses may be listened on."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from bennu.errors import BadSettings, RecordBroken, Unavailable
from bennu.ops import addresses
from bennu.ops.run import EXIT_BAD_SETTINGS, EXIT_CRASHED, EXIT_FINAL, EXIT_OK, Running, run_service
from bennu.ops.settings import ServiceSettings

ARGV = ["--app", "bank.app:app"]
ROOT = Path(__file__).resolve().parent.parent.parent


class Settings(ServiceSettings):
    """Of a service that does what a test says."""

    service: ClassVar[str] = "saga"


def ended(
    raised: Exception | None, capsys: pytest.CaptureFixture[str], argv: list[str] | None = None
) -> tuple[int, list[dict[str, object]]]:
    """Exit code and log lines of a service whose work ends so."""

    async def main(_settings: Settings, running: Running) -> None:
        running.announce()
        if raised is not None:
            raise raised

    code = run_service(Settings, main, argv=ARGV if argv is None else argv, environ={})
    return code, [json.loads(line) for line in capsys.readouterr().err.splitlines()]


FINAL = RecordBroken("bank-events-0, offset 2: broken")


@pytest.mark.parametrize(
    ("raised", "code", "error"),
    [
        (FINAL, EXIT_FINAL, "RecordBroken"),
        (BadSettings("no such thing"), EXIT_BAD_SETTINGS, "BadSettings"),
        (ExceptionGroup("both", [ValueError("x"), ExceptionGroup("inner", [FINAL])]), EXIT_FINAL, "RecordBroken"),
        (ExceptionGroup("worse", [FINAL, BadSettings("no such thing")]), EXIT_BAD_SETTINGS, "BadSettings"),
    ],
)
def test_a_final_error_is_said_once(
    capsys: pytest.CaptureFixture[str], raised: Exception, code: int, error: str
) -> None:
    """Its name and reason in one line, whatever group it comes in, and a code that says whose fault it is."""
    found, lines = ended(raised, capsys)
    assert found == code
    assert [line["error"] for line in lines] == [error]
    assert lines[0]["event"] == "stopped"
    assert lines[0]["reason"]


def test_a_peer_that_is_away_is_no_crash(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a service does not wait for it, one line says who is away: exit 1."""
    code, lines = ended(Unavailable("bank-events-0: no route"), capsys)
    assert code == EXIT_CRASHED
    assert [(line["event"], line.get("reason")) for line in lines] == [("stopped", "bank-events-0: no route")]


@pytest.mark.parametrize("beside", [[], [Unavailable("away")]])
def test_a_crash_comes_with_its_traceback(capsys: pytest.CaptureFixture[str], beside: list[Exception]) -> None:
    """What nobody named is a bug: exit 1, and where it was."""
    code, lines = ended(ExceptionGroup("one", [ZeroDivisionError("oops"), *beside]), capsys)
    assert (code, lines[0]["event"]) == (EXIT_CRASHED, "crashed")
    assert "ZeroDivisionError: oops" in str(lines[0]["exception"])


def test_work_that_is_done_is_a_good_end(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0."""
    code, lines = ended(None, capsys)
    assert (code, [line["event"] for line in lines]) == (EXIT_OK, ["stopped"])


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:0", "[::]:0", "example.com:0"])
def test_an_address_that_others_reach_needs_a_word(capsys: pytest.CaptureFixture[str], address: str) -> None:
    """Plaintext off loopback only with --insecure-bind: exit 78 says so."""
    code, lines = ended(None, capsys, [*ARGV, "--ops", address])
    assert code == EXIT_BAD_SETTINGS
    assert "--insecure-bind" in str(lines[0]["reason"])
    assert addresses.to_bind(address, what="ops", insecure_bind=True).port == 0


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:0", "localhost:80"])
def test_loopback_needs_none(address: str) -> None:
    """Only this host can reach it; and what was written is what is shown."""
    assert str(addresses.to_bind(address, what="grpc", insecure_bind=False)) == address


@pytest.mark.parametrize("address", ["", "127.0.0.1", ":1", "127.0.0.1:", "127.0.0.1:65536", "::1:80", "h:1x", "h:-1"])
def test_what_is_no_address_is_named(address: str) -> None:
    """With the setting's name and an example."""
    with pytest.raises(BadSettings, match=r"^grpc: "):
        addresses.parse(address, what="grpc")


@pytest.mark.parametrize(("left", "code"), [("thread", EXIT_OK), ("task", EXIT_OK), ("failed", EXIT_FINAL)])
def test_what_does_not_end_ends_with_the_process(left: str, code: int) -> None:
    """A thread or a task that the work leaves behind is waited for in vain only for a while; and its code is kept."""
    command = [sys.executable, "-m", "tests.ops.left_behind", left]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ended.returncode == code
    assert lines[-1]["reason"] == "something is still under way, and does not end"


def test_a_thread_of_its_own_is_not_waited_for_at_the_end() -> None:
    """Such as one that stands in a disk."""
    command = [sys.executable, "-m", "tests.ops.left_behind", "own-thread"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode == EXIT_OK


def test_who_has_no_reader_ends_all_the_same() -> None:
    """With its own code, though what it says is lost."""
    reader, stderr = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "tests.ops.left_behind", "failed"]
    try:
        ended = subprocess.run(command, cwd=ROOT, stderr=stderr, timeout=60, check=False)
    finally:
        os.close(stderr)
    assert ended.returncode == EXIT_FINAL
