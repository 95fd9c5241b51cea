"""`bennu dev`: a log, a Postgres and the services of an app on this machine, until Ctrl-C."""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from bennu.cli.calls import HERE
from bennu.cli.options import AsJson, Config, Partitions, load
from bennu.cli.sagas_options import HERE as ADMIN_HERE
from bennu.errors import BadSettings, Unavailable
from bennu.ops import addresses, sources
from bennu.stack.stack import LogKind

if TYPE_CHECKING:
    from bennu.domain.app import App
    from bennu.stack.suite import Suite

LOOK_S = 0.2

Grpc = Annotated[str, typer.Option("--grpc", envvar="BENNU_GRPC", help="Where CServer listens.")]
Admin = Annotated[str, typer.Option("--admin", envvar="BENNU_ADMIN", help="Where Saga listens to `bennu sagas`.")]


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def dev(  # noqa: PLR0913  each is a flag
        *,
        app_name: Annotated[str, typer.Option("--app", envvar="BENNU_APP", help="The app.")] = "bank.app:app",
        kind: Annotated[LogKind, typer.Option("--log", help="Which log to start.")] = LogKind.SQLITE,
        partitions: Partitions = 8,
        grpc: Grpc = HERE,
        admin: Admin = ADMIN_HERE,
        folder: Annotated[Path, typer.Option("--dir", help="Where the data lives.")] = Path(".bennu/dev"),
        config: Config = "",
        as_json: AsJson = False,
    ) -> None:
        """Run everything here until Ctrl-C, and print how to call it.  The data stays in --dir."""
        from bennu.stack.kept import refuse_other_log
        from bennu.stack.state import held
        from bennu.stack.suite import Suite, SuiteSettings, services_of

        began_s = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):  # a shell has its `bennu dev &` ignore the latter
            signal.signal(number, signal.default_int_handler)  # one way to end: KeyboardInterrupt
        if kind is not LogKind.SQLITE:  # whose client may have to tell that it is away, and not on standard output
            from bennu.ops import logging

            logging.configure("warning")
        domain = load(app_name)
        environ, services = environment(config), services_of(domain)
        settings = SuiteSettings(app_name, domain.name, kind, partitions, grpc, admin, environ, services)
        with held(folder.absolute()):
            refuse_other_log(folder, kind)
            refuse_taken(grpc=grpc, admin=admin)
            typer.echo(f"starting {domain.name} in {folder}: the log ({kind}), Postgres and the services", err=True)
            with Suite(settings, folder) as suite, suppress(KeyboardInterrupt):
                show(suite, domain, seconds=time.monotonic() - began_s, as_json=as_json)
                watch(suite)
        typer.echo("stopped", err=True)


def environment(config: str) -> dict[str, str]:
    """The services' variables: ours, and the file that we were told of."""
    return dict(os.environ) | ({sources.CONFIG: str(Path(config).absolute())} if config else {})


def refuse_taken(**places: str) -> None:
    """Raises `BadSettings` for a place where somebody listens, or that others could reach."""
    for what, text in places.items():
        addresses.refuse_if_taken(here(text, what=what), what=what)


def here(text: str, *, what: str) -> addresses.Address:
    """Where a service is to listen.  Raises `BadSettings` when others could reach it."""
    address = addresses.parse(text, what=what)
    if not address.is_loopback:
        raise BadSettings(f"{what}: {address} can be reached from elsewhere, and `bennu dev` is for this machine alone")
    return address


def show(suite: "Suite", app: "App", *, seconds: float, as_json: bool) -> None:
    """Where everything is, and how to call it."""
    found = {"grpc": suite.grpc, "postgres": suite.dsn, "log": suite.log_url}
    if "saga" in suite.services:
        found["admin"] = suite.admin
    found |= {f"{name}_ops": f"http://{service.addresses['ops']}" for name, service in suite.services.items()}
    if as_json:
        typer.echo(json.dumps({"ready": True, **found, "seconds": round(seconds, 3)}))
        return
    from bennu.cli.paste import grpcurl_example, psql_example, python_example, sagas_example

    typer.echo(f"{suite.settings.app} is ready after {seconds:.1f} s; its data is in {suite.folder}\n")
    for name, address in found.items():
        typer.echo(f"  {name:12} {address}")
    for heading, lines in (
        (f"Python, with {suite.settings.app_name}'s generated stubs", list(python_example(app, suite.grpc))),
        ("grpcurl", [grpcurl_example(app, suite.grpc)]),
        ("psql", [psql_example(app, suite.dsn)]),
        *([("sagas", [sagas_example(suite.admin)])] if "saga" in suite.services else []),
    ):
        typer.echo(f"\n{heading}:\n")
        typer.echo("\n".join(f"    {line}" for line in lines))
    typer.echo("\nCtrl-C stops everything.")


def watch(suite: "Suite") -> NoReturn:
    """Until Ctrl-C.  Raises `Unavailable` when a service has ended."""
    never = threading.Event()
    while True:
        never.wait(LOOK_S)
        if (ended := suite.ended()) is not None:
            raise Unavailable(f"{ended.program.name} has ended, so everything is stopped:\n{ended.last_lines()}")
