"""A shell for each test, in a folder of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import Shell, loggers_put_back


@pytest.fixture
def bennu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shell]:
    """`bennu("topics", "list")`."""
    with loggers_put_back():
        yield Shell(capsys, monkeypatch, tmp_path)
