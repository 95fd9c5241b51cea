"""Rules that raise are said once for each kind, with their place, and counted."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bennu.ops.failures import MAX_SAID, MAX_TEXT_CHARS, RuleFailures, place_of
from bennu.ops.metrics import Metrics


def divided(by: int) -> float:
    """A rule with a mistake for 0."""
    return 1 / by


def error_of(text: str = "") -> Exception:
    """What a rule raised, with its traceback; `text` says of which kind."""
    try:
        if text:
            raise ValueError(text)
        divided(0)
    except (ValueError, ZeroDivisionError) as error:
        return error
    raise AssertionError("it raises")


def test_the_place_is_the_innermost_line() -> None:
    """As it is found from the working directory."""
    place = place_of(error_of())
    assert place is not None
    assert (place.file, place.function) == (str(Path(__file__).relative_to(Path.cwd())), "divided")
    assert str(place) == f"{place.file}:{place.line}, in divided"


def test_bennu_itself_is_no_place() -> None:
    """Where nothing of the app was under way there is none to name."""
    assert place_of(ValueError("made, never raised")) is None


def test_a_rule_that_always_raises_is_said_once() -> None:
    """With the type, the key and the traceback; the others are counted."""
    metrics = Metrics()
    failures = RuleFailures(metrics)
    with capture_logs() as said:
        for number in range(1_000):
            failures("bank.v1.Deposit", f"account-{number}", error_of())
        failures("bank.v1.Withdraw", "account-0", error_of())
    assert [(line["rule_for"], line["key"]) for line in said] == [
        ("bank.v1.Deposit", "account-0"),
        ("bank.v1.Withdraw", "account-0"),
    ]
    assert "ZeroDivisionError" in said[0]["exception"]
    assert "in divided" in said[0]["exception"]
    assert b"bennu_failed_rules_total 1001.0" in metrics.render()


def test_kinds_are_bounded() -> None:
    """However many types of commands fail."""
    failures = RuleFailures(Metrics())
    with capture_logs() as said:
        for number in range(2 * MAX_SAID):
            failures(f"bank.v1.Deposit{number}", "a", error_of())
    assert len(said) == MAX_SAID


@pytest.mark.parametrize("text", ["x" * 5_000_000, "half a surrogate pair: \ud800"])
def test_whatever_was_raised_can_be_said(text: str) -> None:
    """A text of megabytes is cut, and what is no text is escaped."""
    with capture_logs() as said:
        RuleFailures(Metrics())("bank.v1.Deposit", "a", error_of(text))
    exception = said[0]["exception"].encode().decode()
    assert len(exception) < MAX_TEXT_CHARS + 10
