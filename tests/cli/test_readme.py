"""The README's lines work as they are printed."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.shell import ROOT, Shell, environment
from tests.cserver.served import TIMEOUT_S, Server

README = (ROOT / "README.md").read_text()
PARTITIONS = 8
"""As `bennu dev` has them."""
HERE = "127.0.0.1:50051"


def told(start: str) -> str:
    """The block of code that begins so."""
    blocks = (found.group(1) for found in re.finditer(r"```\w+\n(.*?)```", README, re.DOTALL))
    return next(block for block in blocks if block.startswith(start))


INSPECTIONS = [line for line in told("bennu inspect").splitlines() if line.startswith("bennu inspect")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Where a log stands as `bennu dev` has it, to which the README's program has written; and the server's address."""
    place = tmp_path_factory.mktemp("readme")
    with Server(place, partitions=PARTITIONS, log_url=f"sqlite:{place}/.bennu/dev/log") as server:
        server.start()
        address = server.process.announced["grpc"]
        program = told("import grpc").replace(HERE, address)
        subprocess.run([sys.executable, "-c", program], env=environment(), timeout=TIMEOUT_S, check=True)
        yield place, address


@pytest.mark.parametrize("line", INSPECTIONS, ids=lambda line: " ".join(line.split()[1:3]))
def test_a_line_about_looking_shows_what_the_program_before_it_did(
    bennu: Shell, folder: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Bob, with his salary."""
    place, address = folder
    monkeypatch.chdir(place)
    bennu.setenv("BENNU_GRPC", address)
    ended = bennu(*shlex.split(line, comments=True)[1:])
    assert (ended.code, ended.out.startswith("Account bob ")) == (0, True), ended.err
    assert re.search(r'"balance_minor": "?10000\b', ended.out)
