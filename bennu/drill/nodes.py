"""A cluster of the drill's own: a log, and several services over it, each with its own way there; and snapshots."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from bennu import log
from bennu.drill.relay import Relay
from bennu.errors import Unavailable
from bennu.log.port import Log
from bennu.ops import topics
from bennu.stack.child import Child
from bennu.stack.owned import Owned, side_by_side
from bennu.stack.ports import HOST, free_port
from bennu.stack.postgres import Postgres
from bennu.stack.rocketmq import Mode, RocketMQ
from bennu.stack.service import STOP_GRACE_S, Service, clean_environ, told_of_postgres
from bennu.stack.stack import LogKind

SNAPSHOT_EVERY_S = 30
"""A node that was killed is to be back before the next fault, however long the journals have become."""
LOOK_S = 0.2
ADDRESSES = ("namesrv", "broker")
"""Settings in a log's URL that name a further peer."""

Fill: TypeAlias = Callable[[Log], Awaitable[None]]


@dataclass(frozen=True)
class ClusterSettings:
    """What to run."""

    app: str
    """module:attribute, as services are told."""
    app_name: str
    kind: LogKind
    nodes: int
    partitions: int
    relayed: bool = False
    """Each node's way to the log goes through a relay that can be cut."""
    sagas: int = 0
    """Processes of Saga beside the CServers."""
    qservers: int = 0
    """Processes of QServer beside them."""
    environ: Mapping[str, str] = field(default_factory=clean_environ)

    @property
    def programs(self) -> dict[str, str]:
        """Which service each node runs, by its name."""
        counts = (("n", "cserver", self.nodes), ("s", "saga", self.sagas), ("q", "qserver", self.qservers))
        return {f"{letter}{number + 1}": name for letter, name, count in counts for number in range(count)}


class Link:
    """A node's way to the log."""

    def __init__(self, url: str, relays: list[Relay]) -> None:
        self.url = url
        self._relays = relays

    def cut(self, *, silent: bool) -> None:
        """Nothing gets through, in either direction."""
        for relay in self._relays:
            relay.cut(silent=silent)

    def heal(self) -> None:
        """Everything gets through again."""
        for relay in self._relays:
            relay.heal()


class Nodes(Owned):
    """The services' processes, by name."""

    def __init__(self, settings: ClusterSettings, folder: Path, links: Mapping[str, Link], *, dsn: str) -> None:
        """`dsn` of the Postgres that keeps their snapshots and tables."""
        self.links = links
        self._environ = told_of_postgres(settings.environ, dsn)
        self.services = {name: self._service(settings, folder / name, name) for name in links}
        self._programs = settings.programs
        self.down: set[str] = set()
        """Killed on purpose."""

    def _service(self, settings: ClusterSettings, folder: Path, name: str) -> Service:
        folder.mkdir(parents=True)
        flags = {
            "app": settings.app,
            "log": self.links[name].url,
            "partitions": str(settings.partitions),
            "node": name,
        }
        program = settings.programs[name]
        if program != "qserver":  # its tables are all that it knows
            flags["snapshot-every-s"] = str(SNAPSHOT_EVERY_S)
        if program == "cserver":
            flags["grpc"] = f"{HOST}:{free_port()}"  # the same after each start, so that callers find it again
        words = [word for flag, value in flags.items() for word in (f"--{flag}", value)]
        return Service(program, words, folder, environ=self._environ)

    def of(self, program: str) -> list[str]:
        """The names of the nodes that run this service."""
        return [name for name, found in self._programs.items() if found == program]

    def start(self) -> None:
        side_by_side([partial(self._start, service) for service in self.services.values()], stop=self.stop)

    def _start(self, service: Service) -> None:
        service.start()
        service.wait_serving()

    def stop(self) -> None:
        services = list(self.services.values())
        for service in services:
            service.send(signal.SIGCONT)  # one that is stopped hears nothing
            service.send(signal.SIGTERM)
        with ThreadPoolExecutor() as pool:
            for ending in [pool.submit(service.wait_ended, STOP_GRACE_S) for service in services]:
                ending.result()

    async def kill(self, name: str) -> None:
        """kill -9."""
        self.down.add(name)
        await asyncio.to_thread(self.services[name].kill)

    async def restart(self, name: str) -> None:
        """Start a node that was killed; returns when its ports are bound."""
        await asyncio.to_thread(self.services[name].start)
        self.down.discard(name)

    def ended(self) -> str:
        """What to say of a node that should run and does not; empty if there is none."""
        for name, service in self.services.items():
            if name not in self.down and not service.running:
                return f"{name} has ended, so the drill can't go on:\n{service.last_lines()}"
        return ""

    async def watch(self) -> None:
        """For ever.  Raises `Unavailable` when one has ended by itself."""
        while not (said := self.ended()):  # noqa: ASYNC110  only looking tells
            await asyncio.sleep(LOOK_S)
        raise Unavailable(said)


@dataclass(frozen=True)
class Cluster:
    """What runs."""

    log_url: str
    nodes: Nodes
    postgres: Postgres
    broker: Child | None = None
    """The process that keeps the log, if there is one."""


@asynccontextmanager
async def started(settings: ClusterSettings, folder: Path, *, fill: Fill | None = None) -> AsyncIterator[Cluster]:
    """Everything serves inside the block and is gone after it.  Raises `Unavailable` or `BadSettings`.

    `fill` writes into the log what services are to find there.
    """
    async with AsyncExitStack() as stack:
        url, broker = f"sqlite:{folder / 'log'}", None
        if settings.kind is not LogKind.SQLITE:
            mode = Mode.CLUSTER if settings.kind is LogKind.ROCKETMQ else Mode.LOCAL
            rocketmq = await stack.enter_async_context(RocketMQ(folder / "rocketmq", mode=mode))
            url, broker = rocketmq.log_url, rocketmq.broker
        async with log.open(url) as opened:
            await topics.create_all(opened, settings.app_name, settings.partitions)
            if fill is not None:
                await fill(opened)
        links = {name: await _link(stack, url) if settings.relayed else Link(url, []) for name in settings.programs}
        postgres = await stack.enter_async_context(Postgres(folder / "postgres"))
        nodes = await stack.enter_async_context(Nodes(settings, folder, links, dsn=postgres.dsn))
        yield Cluster(url, nodes, postgres, broker)


async def _link(stack: AsyncExitStack, url: str) -> Link:
    """The log's URL with a relay in front of each address in it."""
    relays: list[Relay] = []

    async def relayed(address: str) -> str:
        relays.append(await stack.enter_async_context(Relay(address)))
        return relays[-1].address

    parts = urlsplit(url)
    query = {key: await relayed(text) if key in ADDRESSES else text for key, text in parse_qsl(parts.query)}
    netloc = await relayed(parts.netloc)
    return Link(urlunsplit(parts._replace(netloc=netloc, query=urlencode(query, safe=":"))), relays)
