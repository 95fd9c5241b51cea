"""What a flooded partition does to the others in its process: `bennu bench hot-partition`.

One CServer leads all partitions of the bank.  Typed calls go to all of them but one, at fixed times whatever became of
those before (so a slow answer does not spare the next one its wait), and are timed from when they were due.  The one
is left alone, and flooded by the stream at a multiple of what it can do, by turns.  The flood comes from a process of
its own; what the transport does not take from it in time it holds back, as a queue in front of a service would.

What is compared is what the server does to the calm callers.  The flood's process gives way to all others and takes a
twentieth of a core, its frames being made before; the calls' process is late by the same in both phases.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from itertools import cycle
from multiprocessing import get_context
from statistics import quantiles
from typing import Annotated, NamedTuple

import grpc
import typer
import uvloop

from bank.v1 import bank_pb2_grpc
from bank.v1.commands_pb2 import Deposit, OpenAccount
from benchmarks.frames import deposit_frames, opening_frames
from benchmarks.serving import bench_folder, target
from benchmarks.stream import EXECUTE
from bennu.errors import Unavailable
from bennu.v1.stream_pb2 import ReplyFrame
from bennu.wire.partitioning import partition_of

FRAME = 100
STREAMS = 4
IN_FLIGHT = 16
"""Frames on their way, of each stream, while the capacity is measured."""
SETTLE_S = 1.0
CALL_TIMEOUT_S = 60.0
MIN_CALLS = 100
HOT = 0


class Flood(NamedTuple):
    """What became of one."""

    offered: int
    answered: int
    refused: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Commands carried out."""
        return (self.answered - self.refused) / self.seconds


class Load(NamedTuple):
    """What is sent to the hot partition: at this rate, or as fast as it is answered."""

    address: str
    partitions: int
    run: str
    per_second: float | None
    seconds: float


def hot_names(partitions: int) -> list[str]:
    """Accounts of the hot partition."""
    names = (f"hot-{number}" for number in range(100 * partitions))
    return [name for name in names if partition_of(name, partitions) == HOT]


def flood(load: Load) -> Flood:
    """In a process of its own, which gives way to the one that measures."""
    os.nice(19)
    return uvloop.run(_flood(load))


async def _flood(load: Load) -> Flood:
    names, pace = hot_names(load.partitions), load.per_second or 60_000
    frames = deposit_frames(FRAME, int(pace * load.seconds / FRAME), run=load.run, names=names)
    async with _streams(load.address) as senders:
        began_s = time.perf_counter()
        if load.per_second is None:
            await asyncio.gather(*(each.closed_loop(frames[i::STREAMS], load) for i, each in enumerate(senders)))
        else:
            await asyncio.gather(*(each.open_loop(frames[i::STREAMS], load) for i, each in enumerate(senders)))
        took_s = time.perf_counter() - began_s
    offered = FRAME * (len(frames) if load.per_second else sum(each.sent for each in senders))
    answered, refused = sum(each.answered for each in senders), sum(each.refused for each in senders)
    return Flood(offered, answered, refused, took_s)


@asynccontextmanager
async def _streams(address: str) -> "AsyncIterator[list[Sender]]":
    channels = [
        grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(STREAMS)
    ]
    try:
        yield [Sender(channel) for channel in channels]
    finally:
        for channel in channels:
            await channel.close()


class Sender:
    """One stream of the flood, on a connection of its own."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        execute: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(EXECUTE)
        self._call = execute()
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self.sent = self.answered = self.refused = 0

    async def closed_loop(self, frames: Sequence[bytes], load: Load) -> None:
        """Keep frames in flight, until the time is over."""
        reading, end_s = asyncio.create_task(self._read()), time.perf_counter() + load.seconds
        for frame in frames:
            await self._slots.acquire()
            if time.perf_counter() > end_s:
                break
            await self._write(frame)
        await self._end(reading)

    async def open_loop(self, frames: Sequence[bytes], load: Load) -> None:
        """Send each when it is due, or as soon after as the transport takes it, until the time is over."""
        reading, began_s = asyncio.create_task(self._read()), time.perf_counter()
        for number, frame in enumerate(frames):
            now_s = time.perf_counter() - began_s
            if now_s > load.seconds:
                break
            if (early_s := number * load.seconds / len(frames) - now_s) > 0:
                await asyncio.sleep(early_s)
            await self._write(frame)
        await self._end(reading)

    async def _write(self, frame: bytes) -> None:
        await self._call.write(frame)
        self.sent += 1

    async def _end(self, reading: "asyncio.Task[None]") -> None:
        await self._call.done_writing()
        await reading

    async def _read(self) -> None:
        async for raw in self._call:
            codes = ReplyFrame.FromString(raw).codes
            self.answered += len(codes)
            self.refused += sum(map(bool, codes))
            self._slots.release()


class Calm:
    """Typed calls to all partitions but the hot one."""

    def __init__(self, channel: grpc.aio.Channel, partitions: int, per_second: float) -> None:
        self._bank = bank_pb2_grpc.BankStub(channel)
        found = {partition_of(name, partitions): name for name in (f"calm-{n}" for n in range(100 * partitions))}
        self._names = [name for partition, name in found.items() if partition != HOT]
        self._per_second = per_second

    async def open(self) -> None:
        """Make the accounts."""
        for name in self._names:
            await self._bank.OpenAccount(OpenAccount(account=name, currency="EUR"), timeout=CALL_TIMEOUT_S)

    async def measure(self, seconds: float) -> list[float]:
        """Milliseconds of each call, from when it was due.  Raises what a call ends with."""
        loop = asyncio.get_running_loop()
        began_s, names = loop.time(), cycle(self._names)
        async with asyncio.TaskGroup() as group:
            calls = []
            for number in range(int(seconds * self._per_second)):
                due_s = began_s + number / self._per_second
                if (early_s := due_s - loop.time()) > 0:
                    await asyncio.sleep(early_s)
                calls.append(group.create_task(self._call(next(names), due_s)))
        return [call.result() for call in calls]

    async def _call(self, name: str, due_s: float) -> float:
        await self._bank.Deposit(Deposit(account=name, currency="EUR", amount_minor=5), timeout=CALL_TIMEOUT_S)
        return (asyncio.get_running_loop().time() - due_s) * 1000


class Phases(NamedTuple):
    """Calls' milliseconds without and with the flood, and the floods."""

    capacity: float
    quiet_ms: list[float]
    flooded_ms: list[float]
    floods: list[Flood]

    def figures(self) -> dict[str, object]:
        """What is printed."""
        quiet, flooded = quantiles(self.quiet_ms, n=100), quantiles(self.flooded_ms, n=100)
        return {
            "capacity_per_second": round(self.capacity),
            "offered_per_second": round(sum(each.offered / each.seconds for each in self.floods) / len(self.floods)),
            "carried_out_per_second": round(sum(each.per_second for each in self.floods) / len(self.floods)),
            "calls": len(self.quiet_ms),
            "quiet_p50_ms": round(quiet[49], 2),
            "quiet_p99_ms": round(quiet[98], 2),
            "flooded_p50_ms": round(flooded[49], 2),
            "flooded_p99_ms": round(flooded[98], 2),
            "p99_ratio": round(flooded[98] / quiet[98], 2),
        }


async def _phases(address: str, partitions: int, *, shape: tuple[float, float], seconds: float, rounds: int) -> Phases:
    times, per_second = shape
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        async with grpc.aio.insecure_channel(address) as channel:
            calm = Calm(channel, partitions, per_second)
            await calm.open()
            await _open_hot(channel, partitions)
            warm = Load(address, partitions, "warm", None, seconds / 2)
            await loop.run_in_executor(pool, flood, warm)
            capacity = (await loop.run_in_executor(pool, flood, warm._replace(run="most"))).per_second
            found = Phases(capacity, [], [], [])
            await calm.measure(SETTLE_S)
            for number in range(rounds):
                found.quiet_ms.extend(await calm.measure(seconds))
                load = Load(address, partitions, f"r{number}", times * capacity, seconds + 3 * SETTLE_S)
                flooding = loop.run_in_executor(pool, flood, load)
                await calm.measure(2 * SETTLE_S)  # until the frames are made and the line is as long as it gets
                found.flooded_ms.extend(await calm.measure(seconds))
                found.floods.append(await flooding)
    return found


async def _open_hot(channel: grpc.aio.Channel, partitions: int) -> None:
    execute: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(EXECUTE)
    async for raw in execute(iter(opening_frames(FRAME, hot_names(partitions)))):
        if any(ReplyFrame.FromString(raw).codes):
            raise Unavailable("an account of the hot partition could not be opened")


@contextmanager
def _served(log: str, partitions: int) -> Iterator[str]:
    """The address of a CServer that leads all partitions."""
    with (
        bench_folder() as folder,
        target(log, folder, partitions=partitions) as found,
    ):
        yield found.service.addresses["grpc"]


def measure(  # noqa: PLR0913  each is a flag
    *,
    log: Annotated[str, typer.Option("--log", help="memory, sqlite or rocketmq.")] = "sqlite",
    partitions: Annotated[int, typer.Option(min=2, max=64)] = 8,
    times: Annotated[float, typer.Option(min=0.1, max=20, help="The flood, in multiples of the capacity.")] = 3,
    calls: Annotated[float, typer.Option(min=10, max=1_000, help="Calls a second to all others together.")] = 70,
    seconds: Annotated[float, typer.Option(min=2, max=300, help="Of each phase.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Phases of each kind, by turns.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """The p99 of calls to calm partitions, with and without another one flooded, in one process."""
    if calls * seconds * rounds < MIN_CALLS:
        raise typer.BadParameter(f"a p99 needs {MIN_CALLS} calls at least: more --seconds, --rounds or --calls")
    with _served(log, partitions) as address:
        found = uvloop.run(_phases(address, partitions, shape=(times, calls), seconds=seconds, rounds=rounds)).figures()
    for name, value in found.items():
        typer.echo(f"{name.replace('_', ' '):28} {value:>10,}")
    if as_json:
        typer.echo(json.dumps({"log": log, "partitions": partitions, "times": times} | found))
