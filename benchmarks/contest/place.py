"""Where a contest takes place: each part is started when the first entrant asks for it, and shared by all that do.

Only one entrant is at work at any moment; the servers of the others wait meanwhile.
"""

import json
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import asyncpg
import grpc

from benchmarks.contest.broker import WarmRocketMQ
from benchmarks.frames import opening_frames
from benchmarks.serving import served
from benchmarks.stream import StreamClient
from bennu.cli.programs import ROOT
from bennu.stack.child import Child, Program
from bennu.stack.postgres import Postgres
from bennu.stack.rocketmq import RocketMQ
from bennu.stack.service import clean_environ

FRAME = 100
IN_FLIGHT = 40
ANNOUNCED = '{"grpc": '
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Server(NamedTuple):
    """A process that takes commands, and the connection to it."""

    channel: grpc.aio.Channel
    process: Child

    def cpu_s(self) -> float:
        """What it has used so far, user and system, of all its threads."""
        fields = Path("/proc", str(self.process.pid), "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


class Place:
    """Parts that run until the block ends.  Starting one blocks: nothing else is to happen then."""

    def __init__(self, folder: Path, closing: AsyncExitStack) -> None:
        self.folder = folder
        self.closing = closing
        self._servers: dict[str, Server] = {}
        self._rocketmq: RocketMQ | None = None
        self._postgres: Postgres | None = None

    def rocketmq(self) -> RocketMQ:
        """The one that all share: each writes to topics of its own."""
        if self._rocketmq is None:
            self._rocketmq = self.closing.enter_context(WarmRocketMQ(self.folder / "rocketmq"))
        return self._rocketmq

    def log_url(self, log: str, name: str) -> str:
        """Of a log for this user of it."""
        return self.rocketmq().log_url if log == "rocketmq" else f"sqlite:{self.folder / name}"

    async def database(self, name: str) -> str:
        """The DSN of a database of this name, made when it is not there."""
        if self._postgres is None:
            self._postgres = self.closing.enter_context(Postgres(self.folder / "postgres"))
        connection = await asyncpg.connect(self._postgres.dsn)
        try:
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
                await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return self._postgres.dsn.rpartition("/")[0] + f"/{name}"

    async def bennu(self, log: str) -> Server:
        """A CServer with the accounts open, over this log."""
        if (name := f"bennu-{log}") not in self._servers:
            target = self.closing.enter_context(served(log, self.log_url(log, name), self.folder))
            server = await self._connected(name, target.service, target.service.addresses["grpc"])
            await StreamClient(server.channel, name).send(opening_frames(FRAME), in_flight=IN_FLIGHT)
        return self._servers[name]

    async def program(self, name: str, module: str, *flags: str) -> Server:
        """`python -m benchmarks.contest.MODULE FLAGS`, which says its address when it serves."""
        if name not in self._servers:
            command = [sys.executable, "-m", f"benchmarks.contest.{module}", *flags]
            environ = clean_environ() | {"PYTHONPATH": str(ROOT)}
            output = self.folder / f"{name}.out"
            process = Child(Program(name, command, ANNOUNCED, environ=environ, folder=str(ROOT)), output)
            self.closing.callback(process.kill)
            process.start()
            line = next(line for line in output.read_text().splitlines() if line.startswith(ANNOUNCED))
            await self._connected(name, process, json.loads(line)["grpc"])
        return self._servers[name]

    async def _connected(self, name: str, process: Child, address: str) -> Server:
        channel = await self.closing.enter_async_context(grpc.aio.insecure_channel(address))
        self._servers[name] = Server(channel, process)
        return self._servers[name]
