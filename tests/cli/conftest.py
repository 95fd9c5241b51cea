"""A shell for each test, in a folder of its own."""

from pathlib import Path

import pytest

from tests.cli.shell import Shell


@pytest.fixture
def bennu(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """`bennu("topics", "list")`."""
    return Shell(capsys, monkeypatch, tmp_path)
