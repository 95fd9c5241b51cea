"""The whole suite of an app on this machine: a log, a Postgres, and the services over them.

    with Suite(settings, folder) as suite:
        call(suite.grpc)
        suite.services["saga"].kill()       # kill -9
        suite.services["saga"].start()

What the log needs is made first; services that can do without Postgres start beside it.
"""

import asyncio
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bennu.domain.app import App
from bennu.ops import topics
from bennu.stack.owned import Owned, side_by_side
from bennu.stack.service import STOP_GRACE_S, Service, clean_environ, told_of_postgres
from bennu.stack.stack import LogKind, Stack

SERVICES = ("cserver", "saga", "qserver")


def services_of(app: App) -> Sequence[str]:
    """Those that have something to do for this app."""
    idle = {"saga": not app.sagas, "qserver": not (app.sagas or app.projections)}
    return [name for name in SERVICES if not idle.get(name)]


@dataclass(frozen=True)
class SuiteSettings:
    """What to run."""

    app: str
    """module:attribute, as services are told."""
    app_name: str
    kind: LogKind = LogKind.SQLITE
    partitions: int = 1
    grpc: str = "127.0.0.1:0"
    """Where CServer listens; with port 0 another free one after each start."""
    admin: str = "127.0.0.1:0"
    """Where Saga listens to operators; the same."""
    environ: Mapping[str, str] = field(default_factory=clean_environ)
    services: Sequence[str] = SERVICES
    """Those that have something to do for the app; the others would refuse to start."""


class Suite(Owned):
    """The running parts."""

    told_of_postgres: Collection[str] = ("qserver",)
    """Services; the others begin without snapshots, and without waiting for Postgres."""

    def __init__(self, settings: SuiteSettings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder.absolute()
        self.stack = Stack(self.folder, settings.kind)
        self.services: dict[str, Service] = {}

    @property
    def grpc(self) -> str:
        """HOST:PORT of CServer."""
        return self.services["cserver"].addresses["grpc"]

    @property
    def admin(self) -> str:
        """HOST:PORT of Saga, for operators."""
        return self.services["saga"].addresses["admin"]

    @property
    def log_url(self) -> str:
        """What `bennu.log.open` takes."""
        return self.stack.addresses["log_url"]

    @property
    def dsn(self) -> str:
        """URL of the database with the tables."""
        return self.stack.postgres.dsn

    def start(self) -> None:
        """Boot everything; returns when all services are ready.  Raises `Unavailable` or `BadSettings`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        names = self.settings.services
        if self.stack.rocketmq is not None or "cserver" in self.told_of_postgres:
            self.stack.start()
            self.fill_log()
            self.make_topics()
            starts: list[Callable[[], None]] = [partial(self._start_service, name) for name in names]
        else:
            self.fill_log()
            starts = [partial(self._start_service, name) for name in names if name != "qserver"]
            starts.append(self._start_tables)
        side_by_side(starts, stop=self.stop)

    def fill_log(self) -> None:
        """What is to be done with the log before a service opens it; of a suite that is new, nothing."""

    def _start_tables(self) -> None:
        self.stack.start()
        if "qserver" in self.settings.services:
            self._start_service("qserver")

    def _start_service(self, name: str) -> None:
        settings = self.settings
        flags = ["--app", settings.app, "--log", self.log_url, "--partitions", str(settings.partitions)]
        environ = settings.environ
        if name == "cserver":
            flags += ["--grpc", settings.grpc]
        if name == "saga":
            flags += ["--admin", settings.admin]
        if name in self.told_of_postgres:
            environ = told_of_postgres(environ, self.dsn)
        service = self.services[name] = Service(name, flags, self.folder, environ=environ)
        service.start()
        service.wait_serving()

    def make_topics(self) -> None:
        """Those that an operator would make."""
        asyncio.run(self._make_topics())

    async def _make_topics(self) -> None:
        from bennu import log

        async with log.open(self.log_url) as opened:
            await topics.create_all(opened, self.settings.app_name, self.settings.partitions)

    def stop(self) -> None:
        """Ask the services to stop, then end what still runs, then the stack."""
        services = list(self.services.values())
        for service in services:
            service.send(signal.SIGTERM)
        with ThreadPoolExecutor() as pool:
            for ending in [pool.submit(service.wait_ended, STOP_GRACE_S) for service in services]:
                ending.result()
        self.stack.stop()

    def ended(self) -> Service | None:
        """A service that should run and does not."""
        return next((service for service in self.services.values() if not service.running), None)
