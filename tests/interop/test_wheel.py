"""The wheel alone, without a checkout, gives client authors what they need."""

import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

from tests.interop.exported import BOOT, run

ROOT = Path(__file__).resolve().parents[2]
COMMAND_LINE = "from bennu.cli.main import main; main()"


def unpacked_wheel(folder: Path) -> Path:
    """Build the wheel; the folder that holds what it would install."""
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_an_installed_wheel_exports_the_protos(tmp_path: Path) -> None:
    """From the wheel as from a checkout the same files come, and protoc takes them as the command says."""
    installed, script, exported = unpacked_wheel(tmp_path), tmp_path / "bennu.py", tmp_path / "exported"
    script.write_text(COMMAND_LINE)
    command = ["protos", "export", str(exported)]
    said = run([sys.executable, "-I", "-S", "-c", BOOT, installed, sysconfig.get_path("platlib"), script, *command])
    run(["sh", "-ec", said.partition("\n")[2]])
    found = {path.relative_to(exported).as_posix(): path.read_bytes() for path in exported.rglob("*.proto")}
    validate = found.pop("buf/validate/validate.proto")
    assert validate == (ROOT / "buf" / "validate" / "validate.proto").read_bytes()
    published = (ROOT / "proto" / "bennu").rglob("*.proto")
    assert found == {path.relative_to(ROOT / "proto").as_posix(): path.read_bytes() for path in published}
    assert (exported / "bennu" / "v1" / "stream_pb2_grpc.py").exists()
