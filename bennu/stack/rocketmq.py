"""A real RocketMQ on this machine: a name server, a broker and a proxy, each its own process.

    with RocketMQ(folder) as mq:            # or `async with`
        open_log(mq.log_url)
        mq.broker.kill()                    # kill -9
        mq.broker.start()                   # the same ports, the same store

The folder holds the store, the settings, the output and the logs; the same folder may be used again later.

RocketMQ offers no setting for two addresses: the proxy's ports and the broker's port for replicas listen on every
interface.  All the others listen on the loopback address alone.
"""

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path

from bennu.errors import Unavailable
from bennu.stack import jars
from bennu.stack.child import Child, Program
from bennu.stack.java import find_java
from bennu.stack.owned import Owned
from bennu.stack.ports import HOST, free_port, is_free
from bennu.stack.rocketmq_files import Ports, Runtime, broker_command, namesrv_command, proxy_command, write_files

NAMESRV_READY = "The Name Server boot success"
BROKER_READY = "boot success"
PROXY_READY = "rocketmq-proxy startup successfully"
PROXY_BOOTS = 3
"""It ends at once when the name server has not heard of the broker, or the broker is slow to make a topic."""
BROKER_PORTS = (-2, 0, 1)
"""The broker listens on the port two below for urgent requests, and on the port above for replicas."""


class Mode(StrEnum):
    """How many processes."""

    CLUSTER = "cluster"
    """Name server, broker and proxy: what production looks like."""
    LOCAL = "local"
    """Name server, and a proxy with the broker inside: less memory; reads go to the broker's own port."""


class RocketMQ(Owned):
    """The running parts.  `kill` and `start` each of them at will; in local mode proxy and broker are one process."""

    def __init__(self, folder: Path, *, mode: Mode = Mode.CLUSTER, cache: Path = jars.DEFAULT_CACHE) -> None:
        self.folder = folder.absolute()
        self.mode = mode
        self._cache = cache
        self._parts: dict[str, Child] = {}
        self._ports = choose_ports(self.folder)

    @property
    def namesrv(self) -> Child:
        """The name server's process."""
        return self._part("namesrv")

    @property
    def broker(self) -> Child:
        """The broker's process."""
        return self._part("broker" if self.mode is Mode.CLUSTER else "proxy")

    @property
    def proxy(self) -> Child:
        """The proxy's process."""
        return self._part("proxy")

    @property
    def namesrv_address(self) -> str:
        """HOST:PORT of the name server."""
        return f"{HOST}:{self._ports.namesrv}"

    @property
    def broker_address(self) -> str:
        """HOST:PORT of the broker's own door, for administration."""
        return f"{HOST}:{self._ports.broker}"

    @property
    def proxy_address(self) -> str:
        """HOST:PORT of the proxy's door for both gRPC and remoting."""
        return f"{HOST}:{self._ports.proxy}"

    @property
    def grpc_address(self) -> str:
        """HOST:PORT of the proxy's door for gRPC alone, one hop shorter."""
        return f"{HOST}:{self._ports.grpc}"

    @property
    def log_url(self) -> str:
        """What `bennu.log.open` takes."""
        if self.mode is Mode.CLUSTER:
            return f"rocketmq://{self.proxy_address}?namesrv={self.namesrv_address}"
        query = f"mode=local&broker={self.broker_address}&namesrv={self.namesrv_address}"
        return f"rocketmq://{self.proxy_address}?{query}"

    def start(self) -> None:
        """Fetch what is missing, then boot every part; `Unavailable` says which one did not come up, and why."""
        self.folder.mkdir(parents=True, exist_ok=True)
        runtime = Runtime(find_java(), jars.fetch(jars.read_lock(), self._cache))
        write_files(self.folder, self._ports, local=self.mode is Mode.LOCAL)
        self._parts = {program.name: self._child(program) for program in self._programs(runtime)}
        # One after another: a broker registers with the name server once, when it boots, then only every ten seconds;
        # and the proxy asks the name server for the broker at once, and gives up without it.
        for part in self._parts.values():
            part.start()

    def stop(self) -> None:
        """kill -9 everything: what was acknowledged is on the disk, and a clean stop takes RocketMQ seconds."""
        for part in reversed(self._parts.values()):
            part.kill()

    def _programs(self, runtime: Runtime) -> list[Program]:
        """In the order in which they boot."""
        local = self.mode is Mode.LOCAL
        namesrv = Program("namesrv", namesrv_command(runtime, self.folder), NAMESRV_READY)
        broker = Program("broker", broker_command(runtime, self.folder), BROKER_READY)
        proxy = Program("proxy", proxy_command(runtime, self.folder, local=local), PROXY_READY, boots=PROXY_BOOTS)
        return [namesrv, proxy] if local else [namesrv, broker, proxy]

    def _child(self, program: Program) -> Child:
        return Child(program, self.folder / f"{program.name}.out")

    def _part(self, name: str) -> Child:
        if name not in self._parts:
            raise Unavailable("RocketMQ was not started: use it inside `with RocketMQ(folder) as mq:`")
        return self._parts[name]


def choose_ports(folder: Path) -> Ports:
    """The ports of the last time when they are free, so that clients find it again; else new ones."""
    remembered = folder / "ports.json"
    if remembered.exists():
        ports = Ports(**json.loads(remembered.read_text()))
        neighbours = [ports.broker + offset for offset in BROKER_PORTS]
        if all(map(is_free, [*asdict(ports).values(), *neighbours])):
            return ports
    return Ports(namesrv=free_port(), broker=free_port(BROKER_PORTS), proxy=free_port(), grpc=free_port())
