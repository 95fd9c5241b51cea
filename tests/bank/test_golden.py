"""What the bank has journaled once, it makes the same of for ever."""

from pathlib import Path

import pytest

from bank.app import app
from bennu.testing import golden

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("path", golden.histories(GOLDEN), ids=lambda path: path.stem)
def test_history(path: Path) -> None:
    """Every state and every reply is what it was when the history was made."""
    golden.check(app, path)


def test_histories_whatever_the_order_of_sets() -> None:
    """Processes that hash otherwise agree."""
    golden.check_under_hash_seeds("bank.app:app", GOLDEN, seeds=(1, 2))
