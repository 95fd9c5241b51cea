"""The supervisor: exit codes, what is said at an end, and which addresses may be listened on."""

import json
from typing import ClassVar

import pytest

from bennu.errors import BadSettings, RecordBroken, Unavailable
from bennu.ops import addresses
from bennu.ops.run import EXIT_BAD_SETTINGS, EXIT_CRASHED, EXIT_FINAL, EXIT_OK, Running, run_service
from bennu.ops.settings import ServiceSettings

ARGV = ["--app", "bank.app:app"]


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
