"""What a client's author has: the exported protos, stubs made from them as the command says, and grpcio."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import files
from pathlib import Path

TIMEOUT_S = 120
BIN = Path(sys.executable).parent
NEEDED = ("grpcio", "grpcio-health-checking", "grpcio-reflection", "grpcio-status", "typing-extensions")
NEEDED_BY_THEM = ("googleapis-common-protos", "protobuf")
BOOT = (
    "import runpy, sys; sys.path += sys.argv[1:3]; del sys.argv[:3]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""Runs a script with two folders beside the standard library: neither the checkout nor site-packages is there."""


class ExportedClient:
    """Programs that see the generated stubs, grpcio and what grpcio itself needs, and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._stubs = folder / "exported protos"  # a space: what is printed must be fit to paste
        self._libraries = folder / "libraries"
        self._pasted = folder / "pasted.py"
        self._generate()
        self._libraries.mkdir()
        for name in (*NEEDED, *NEEDED_BY_THEM):
            self._take(name)

    def _generate(self) -> None:
        said = run([BIN / "bennu", "protos", "export", self._stubs])
        heading, command = said.split("\n", maxsplit=1)
        assert heading.endswith("Python stubs from them:")
        run(["sh", "-ec", command])

    def _take(self, distribution: str) -> None:
        """Link what the distribution installed at the top, except what is there already (`google` has many owners)."""
        found = {file.parts[0]: file.locate() for file in files(distribution) or () if file.suffix in {".py", ".so"}}
        for name, file in found.items():
            root = next(path for path in (Path(str(file)), *Path(str(file)).parents) if path.name == name)
            if not (self._libraries / name).exists():
                (self._libraries / name).symlink_to(root)

    def run(self, script: Path, *arguments: str) -> str:
        """What the script prints; fails with its last words if it fails."""
        return run([sys.executable, "-I", "-S", "-c", BOOT, self._stubs, self._libraries, script, *arguments])

    def paste(self, text: str) -> str:
        """The same for a program that was printed."""
        self._pasted.write_text(text)
        return self.run(self._pasted)


def run(command: Sequence[str | Path], environ: Mapping[str, str] = os.environ, *, cwd: Path | None = None) -> str:
    """Run a command whose `python` is ours; what it prints."""
    told = {**environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(command, env=told, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert ran.returncode == 0, f"{command} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout
