"""Finding the app that a service is told to run."""

import pytest

from bank.app import app
from bennu.errors import BadSettings
from bennu.ops.apps import load_app


def test_an_app_is_found_by_its_name() -> None:
    """Module and attribute."""
    assert load_app("bank.app:app") is app


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bank.app", "expected module:attribute"),
        ("bank.app:", "expected module:attribute"),
        (":app", "expected module:attribute"),
        ("bnak.app:app", "no module bnak; is its folder on PYTHONPATH?"),
        ("bank.ap:app", "no module bank.ap"),
        ("bank.app:aap", "module bank.app has no attribute aap"),
        (
            "tests.ops.app_without_default:app",
            "app_without_default.py:6: Required field 'second' cannot",
        ),
        ("bank.account:AccountRules", "is a type, not a bennu.domain.App"),
    ],
)
def test_a_name_that_finds_none_says_why(name: str, said: str) -> None:
    """The part of the name that is wrong."""
    with pytest.raises(BadSettings) as raised:
        load_app(name)
    assert said in str(raised.value)
