"""`bennu protos export` and `bennu version`."""

import subprocess
import sys
from importlib.metadata import version
from platform import python_version

from tests.cli.shell import ROOT, Shell


def test_export_writes_all_that_a_client_needs(bennu: Shell) -> None:
    """Every .proto of ours, byte for byte, and the one of protovalidate that they import."""
    told = bennu("protos", "export", "there", "--json")
    assert (told.code, told.err) == (0, "")
    wanted = {path.relative_to(ROOT / "proto").as_posix() for path in (ROOT / "proto").glob("**/v1/*.proto")}
    folder = bennu.folder / "there"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == wanted | {"buf/validate/validate.proto"}
    assert told.json == {"directory": "there", "files": sorted(found)}
    assert all((folder / name).read_bytes() == (ROOT / "proto" / name).read_bytes() for name in wanted)


def test_export_spares_what_is_in_the_way(bennu: Shell) -> None:
    """Only --force writes into a folder with something in it; a file is no folder."""
    (bennu.folder / "full").mkdir()
    (bennu.folder / "full" / "mine").write_text("mine")
    told = bennu("protos", "export", "full")
    assert (told.code, told.out) == (78, "")
    assert "--force" in told.error
    assert bennu("protos", "export", "full", "--force").code == 0
    assert (bennu.folder / "full" / "mine").read_text() == "mine"
    refused = bennu("protos", "export", "full/mine")
    assert (refused.code, refused.error) == (78, "full/mine is no folder")


def test_version(bennu: Shell) -> None:
    """Ours and Python's, for a person and for a program."""
    assert bennu("version") == (0, f"bennu {version('bennu')}, Python {python_version()}\n", "")
    assert bennu("version", "--json").json == {"bennu": version("bennu"), "python": python_version()}


def test_a_short_command_starts_at_once() -> None:
    """What only services need is not loaded to print a version."""
    code = "import sys; from bennu.cli.main import run; run(['version']); print(*sorted(sys.modules))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    heavy = {"alembic", "asyncpg", "grpc", "prometheus_client", "protovalidate", "sqlalchemy", "structlog"}
    assert heavy & set(told.stdout.split()) == set()
