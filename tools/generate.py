"""Generate Python from our protos (`make proto`), or say which committed files are stale (`--check`)."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tools.protoc import ROOT, VALIDATE_PROTO, ProtocRefused, run_protoc


class Target(NamedTuple):
    """Protos of one folder under `proto/`, and the source root their Python package goes to."""

    package: str
    out: str
    sentence: str
    shown: bool = True
    """Whether tables show its messages, and want their comments."""


TARGETS = (
    Target(
        "bennu/v1",
        ".",
        "Generated from proto/bennu/v1: what the services say to each other and to clients.",
        shown=False,
    ),
    Target("bank/v1", "examples", "Generated from proto/bank/v1: the bank example's published language."),
    *(
        Target(
            f"travel/{part}v1", "examples", f"Generated from proto/travel/{part}v1: a language of the travel example."
        )
        for part in ("", "hotel/", "flight/", "car/")
    ),
)
OUTPUTS = ("--python_out=", "--grpc_python_out=", "--mypy_out=quiet:", "--mypy_grpc_out=quiet:")
GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi", ".binpb")


def generate(target: Target, root: Path) -> None:
    """Generate one target below `root`, a checkout or an empty folder."""
    sources = sorted((ROOT / "proto" / target.package).glob("*.proto"))
    if not sources:
        return
    out = root / target.out
    (out / target.package).mkdir(parents=True, exist_ok=True)
    outputs = [f"{flag}{out}" for flag in OUTPUTS]
    if target.shown:  # generated code has no comments: QServer finds them here
        outputs += [f"--descriptor_set_out={out / target.package / 'protos.binpb'}", "--include_source_info"]
    run_protoc(sources, roots=[ROOT / "proto", ROOT], outputs=outputs)
    drop_empty_service_modules(out / target.package)
    (out / target.package / "__init__.py").write_text(f'"""{target.sentence}"""\n')


def drop_empty_service_modules(folder: Path) -> None:
    """protoc writes a `_pb2_grpc` module for protos without a service too; those say nothing."""
    for module in folder.glob("*_pb2_grpc.py"):
        if "class " not in module.read_text():
            module.unlink()
            module.with_suffix(".pyi").unlink(missing_ok=True)


def generated_files(target: Target, root: Path) -> dict[str, bytes]:
    """Name → content of what `generate` made, or should have made, for one target."""
    folder = root / target.out / target.package
    names = [path for path in folder.glob("*") if path.name.endswith(GENERATED) or path.name == "__init__.py"]
    return {(Path(target.out) / target.package / path.name).as_posix(): path.read_bytes() for path in names}


def fresh_and_present() -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What the protos give now, and what stands in the checkout; every target, all or (`ProtocRefused`) nothing."""
    fresh: dict[str, bytes] = {}
    present: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for target in TARGETS:
            generate(target, Path(scratch))
            fresh |= generated_files(target, Path(scratch))
            present |= generated_files(target, ROOT)
    return fresh, present


def write(fresh: dict[str, bytes], stale: list[str]) -> None:
    """Bring the checkout up to date, touching only what differs."""
    for name in stale:
        path = ROOT / name
        if name in fresh:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(fresh[name])
        else:
            path.unlink()


def main() -> int:
    """0 when generated, or when nothing is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a committed file is stale")
    check = parser.parse_args().check
    if not VALIDATE_PROTO.exists():
        print("buf/validate/validate.proto is not here, our protos import it: run `make setup`", file=sys.stderr)
        return 1
    try:
        fresh, present = fresh_and_present()
    except ProtocRefused as error:
        print(error, file=sys.stderr)
        return 1
    stale = sorted(name for name in fresh.keys() | present.keys() if fresh.get(name) != present.get(name))
    if check and stale:
        headline = "These files differ from what proto/ gives; run `make proto` and commit:"
        print(headline, *stale, sep="\n  ", file=sys.stderr)
        return 1
    write(fresh, stale)
    return 0


if __name__ == "__main__":
    sys.exit(main())
