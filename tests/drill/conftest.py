"""What several tests of drills need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import folder_for_all


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where a drill makes its temporary folder, below `tmp`."""
    with folder_for_all() as found:
        (found / "tmp").mkdir(mode=0o711)
        yield found
