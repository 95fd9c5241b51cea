"""A shell for each test, in a folder of its own."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.cli.shell import Shell


@pytest.fixture
def bennu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Shell]:
    """`bennu("topics", "list")`.  Where log lines go is set up by commands, and put back here."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Shell(capsys, monkeypatch, tmp_path)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
