"""Options that several commands have, and what their values mean."""

import os
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bennu.ops import sources, topics

if TYPE_CHECKING:
    from bennu.domain.app import App
    from bennu.log.port import Log

MAX_PARTITIONS = topics.MAX_PARTITIONS
PARAMETERS = {"app": "app_name", "log": "log", "partitions": "partitions", "grpc": "grpc"}
"""What a setting is called in the functions below `bennu.cli`."""


def _with_file(context: typer.Context, config: str) -> str:
    """Make what the file says the default of the flags: they and the variables come before it."""
    told = _told(config)
    context.default_map = {PARAMETERS[name]: given.value for name, given in told.items() if name in PARAMETERS}
    return config


Config = Annotated[
    str,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar=sources.CONFIG,
        is_eager=True,
        callback=_with_file,
        help="TOML file of settings; flags and variables come before it.",
    ),
]
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


def open_log(url: str, config: str) -> "AbstractAsyncContextManager[Log]":
    """The log that `--log` names, with the credentials of environment or file.  Raises `BadSettings`."""
    from bennu import log
    from bennu.ops import logging

    logging.configure("warning")  # to standard error, also that a log is away: standard output is for what was asked
    told = sources.with_secrets(_told(config))
    keys = {key: told[f"log_{key}"].value for key in ("access_key", "secret_key") if f"log_{key}" in told}
    return log.open(sources.SHORT_LOGS.get(url, url), **{key: str(value) for key, value in keys.items()})


def setting(name: str, config: str) -> str:
    """What environment or file say that no flag does, secrets among it; empty if nothing.  Raises `BadSettings`."""
    found = sources.with_secrets(_told(config)).get(name)
    return str(found.value) if found else ""


def load(name: str) -> "App":
    """The app that `--app` names; the current folder is looked into first, as by `python -m`."""
    from bennu.ops.apps import load_app

    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    return load_app(name)


def _told(config: str) -> dict[str, sources.Given]:
    """The command line reads a file as CServer does."""
    return sources.told(os.environ, config or None, service="cserver")
