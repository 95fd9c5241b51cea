"""Call protoc, the one inside grpcio-tools, and say plainly when it refuses."""

import sys
from collections.abc import Sequence
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
VALIDATE_PROTO = ROOT / "buf" / "validate" / "validate.proto"

_WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


class ProtocRefused(Exception):
    """protoc found fault with the sources; its own words are already on stderr."""


def run_protoc(sources: Sequence[Path], *, roots: Sequence[Path], outputs: Sequence[str]) -> None:
    """Generate from `sources`; `outputs` are protoc's own flags, such as `--python_out=DIR`.

    Raises `ProtocRefused`.  Plugins are looked for beside the running python, so that a virtual
    environment need not be activated.
    """
    bin_dir = Path(sys.executable).parent
    plugins = [f"--plugin={name}={bin_dir / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    includes = [f"--proto_path={root}" for root in (*roots, _WELL_KNOWN)]
    arguments = ["protoc", *plugins, *includes, *outputs, *(str(source) for source in sources)]
    if protoc.main(arguments) != 0:
        names = ", ".join(source.name for source in sources)
        raise ProtocRefused(f"protoc refused {names}: correct what it names above, then run `make proto` again")
