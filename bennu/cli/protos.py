"""`bennu protos export DIR`: all that a client's author needs to generate stubs."""

import json
import shlex
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from bennu.cli.options import AsJson
from bennu.errors import BadSettings

PACKAGED = "protos"
"""Folder of the installed package `bennu` that holds what a checkout has below `proto/`."""

app = typer.Typer(help="The published language.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The published language: what clients are generated from."""


def sources() -> dict[str, Path]:
    """File by its import path, in their order.  Raises `BadSettings` when something is missing."""
    root, validate = _root(), _validate()
    found = {path.relative_to(root).as_posix(): path for path in root.glob("**/v*/*.proto")}
    return dict(sorted((found | {"buf/validate/validate.proto": validate}).items()))


def _root() -> Path:
    package = Path(__file__).resolve().parent.parent
    for root in (package.parent / "proto", package / PACKAGED):
        if (root / "bennu" / "v1").is_dir():
            return root
    raise BadSettings("the .proto files are neither in this installation nor beside it: install the wheel again")


def _validate() -> Path:
    spec = find_spec("buf")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / "validate" / "validate.proto"
        if path.exists():
            return path
    raise BadSettings("buf/validate/validate.proto is not here: run `make setup` in a checkout, or install the wheel")


def export_to(folder: Path, *, force: bool) -> Iterator[str]:
    """Write the files; their import paths.  Raises `BadSettings` for a folder with something in it."""
    if folder.exists() and not folder.is_dir():
        raise BadSettings(f"{folder} is no folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise BadSettings(f"{folder} is not empty: name another folder, or say --force to write into it")
    for name, source in sources().items():
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        except OSError as problem:
            raise BadSettings(f"{target} can't be written: {problem.strerror}") from problem
        yield name


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if it is not there.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write all .proto files that a client needs; grpcio-tools alone makes stubs from them."""
    names = list(export_to(folder, force=force))
    if as_json:
        typer.echo(json.dumps({"directory": str(folder), "files": names}))
        return
    needed = "your own import bennu/v1/options.proto and buf/validate/validate.proto; bank and travel are examples"
    typer.echo(f"{len(names)} files in {folder} ({needed}); Python stubs from them:")
    typer.echo(
        f"  cd {shlex.quote(str(folder))} && python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. \\\n"
        f"    {' '.join(names)}"
    )
