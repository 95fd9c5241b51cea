"""Options that several commands have, and what their values mean."""

import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bennu.errors import BadSettings

if TYPE_CHECKING:
    from bennu.domain.app import App
    from bennu.log.port import Log

MAX_PARTITIONS = 1024

AppName = Annotated[
    str, typer.Option("--app", envvar="BENNU_APP", help="The app, as module:attribute, such as bank.app:app.")
]
LogUrl = Annotated[
    str,
    typer.Option("--log", envvar="BENNU_LOG", help="URL of the log, or one of the short names sqlite and rocketmq."),
]
Partitions = Annotated[
    int,
    typer.Option("--partitions", envvar="BENNU_PARTITIONS", min=1, max=MAX_PARTITIONS, help="Partitions of the app."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def open_log(url: str) -> "AbstractAsyncContextManager[Log]":
    """The log that `--log` names, with the credentials of the environment.  Raises `BadSettings`."""
    from bennu import log
    from bennu.ops.settings import SHORT_LOGS

    keys = {name: _secret(f"BENNU_LOG_{name.upper()}") for name in ("access_key", "secret_key")}
    return log.open(SHORT_LOGS.get(url, url), **{name: key for name, key in keys.items() if key})


def load(name: str) -> "App":
    """The app that `--app` names; the current folder is looked into first, as by `python -m`."""
    from bennu.ops.apps import load_app

    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return load_app(name)


def _secret(variable: str) -> str | None:
    if variable in os.environ:
        return os.environ[variable]
    file = os.environ.get(f"{variable}_FILE")
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise BadSettings(f"{variable}_FILE: {problem}") from problem
