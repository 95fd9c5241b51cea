"""CServers to be measured, one or several over one log, and what a client does to them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import grpc

from bank.app import app as bank
from benchmarks.frames import NAMES, deposit_frames, opening_frames
from benchmarks.serving import APP, log_url, make_topics, serving
from benchmarks.stream import Answered, StreamClient
from bennu.cli.programs import ROOT
from bennu.domain.app import App
from bennu.errors import Unavailable
from bennu.stack.service import Service, clean_environ

FRAME = 100
IN_FLIGHT = 40
"""Frames of one stream: as many commands as `bennu bench commands` has on their way."""
TICK_COMMANDS = 10
"""In a frame of a client that sends at a fixed rate."""
FIRST_GUESS = 10_000
"""Commands a second, before anything was measured."""
WARM_S = 0.5

Row = dict[str, int | float]
"""One size, and what was measured of it."""

_serial = count()


class Kind(NamedTuple):
    """Of app, as a service is told of it."""

    path: str
    app: App


BANK = Kind(APP, bank)


class Ground(NamedTuple):
    """Where a measurement takes place."""

    url: str
    """Of an empty log."""
    folder: Path


@dataclass(frozen=True)
class Site:
    """A log of its own for each measurement, below one folder.  RocketMQ is started for it, once for each."""

    log: str
    folder: Path
    numbers: Iterator[int] = field(default_factory=count)

    @contextmanager
    def at(self) -> Iterator[Ground]:
        """A new one."""
        folder = self.folder / f"site-{next(self.numbers)}"
        folder.mkdir()
        with log_url(self.log, folder) as url:
            yield Ground(url, folder)


@contextmanager
def cservers(
    ground: Ground, *, kind: Kind = BANK, partitions: int = 1, nodes: int = 1, flags: Sequence[str] = ()
) -> Iterator[list[Service]]:
    """So many that share the partitions, each serving; gone after the block."""
    url, folder = ground
    if url.startswith("rocketmq"):
        make_topics(url, partitions, app=kind.path)
    environ = clean_environ() | {"PYTHONPATH": str(ROOT)}
    with ExitStack() as stack:
        found = []
        for number in range(nodes):
            place = folder / f"n{number}"
            place.mkdir()
            said = ["--app", kind.path, "--log", url, "--grpc", "127.0.0.1:0", "--node", f"n{number}"]
            said += ["--partitions", str(partitions), *flags]
            found.append(stack.enter_context(serving(Service("cserver", said, place, environ=environ))))
        yield found


@asynccontextmanager
async def client(service: Service) -> AsyncIterator[StreamClient]:
    """Of this process."""
    async with grpc.aio.insecure_channel(service.addresses["grpc"]) as channel:
        yield StreamClient(channel, service.program.name)


def resident_bytes(service: Service) -> int:
    """Of the process's memory, what is there and not only promised."""
    lines = Path("/proc", str(service.pid), "status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024


def run_name() -> str:
    """That no other frames of this process have: ids are made of it."""
    return f"g{next(_serial)}"


async def open_accounts(to: StreamClient, names: Sequence[str] = NAMES) -> None:
    """All of them, once."""
    await to.send(opening_frames(FRAME, names), in_flight=IN_FLIGHT)


async def flooded(to: StreamClient, seconds: float, names: Sequence[str] = NAMES) -> tuple[float, list[Answered]]:
    """(deposits a second, their frames), for about so long, as many on their way as the server takes."""
    per_second, answered = float(FIRST_GUESS), list[Answered]()
    for last_s in (WARM_S, seconds):
        frames = deposit_frames(FRAME, max(2, round(per_second * last_s / FRAME)), run=run_name(), names=names)
        began_s = time.perf_counter()
        answered = await to.send(frames, in_flight=IN_FLIGHT)
        per_second = len(frames) * FRAME / (time.perf_counter() - began_s)
    return per_second, answered


async def at_rate(to: StreamClient, pace: tuple[int, float], names: Sequence[str] = NAMES) -> Row:
    """Percentiles of frames of ten deposits sent at (a second, for seconds), each from when it was due."""
    per_second, seconds = pace
    await asyncio.sleep(WARM_S)  # what the load before left to do is no part of it
    number = max(100, round(per_second * seconds / TICK_COMMANDS))
    frames = deposit_frames(TICK_COMMANDS, number, run=run_name(), names=names)
    began_s = time.perf_counter()
    due_s = [began_s + index * TICK_COMMANDS / per_second for index in range(number)]
    answered = await to.send_at(frames, due_s)
    if refused := sum(each.refused for each in answered):
        raise Unavailable(f"{refused} commands at {per_second} a second were not carried out")
    took_ms = [(each.at_s - due) * 1000 for each, due in zip(answered, due_s, strict=True)]
    return percentiles(took_ms)


def percentiles(took_ms: Sequence[float]) -> Row:
    """The two that are shown."""
    return {"p50_ms": round(median(took_ms), 2), "p99_ms": round(quantiles(took_ms, n=100)[98], 2)}
