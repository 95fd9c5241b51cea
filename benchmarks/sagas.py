"""Sagas a second, end to end: `bennu bench sagas`.

A CServer and a Saga, each a real process, carry out transfers of the bank: requested by the stream, in frames;
withdrawn, deposited and completed by the saga.  One has ended when its closing command's event stands in the journal of
events, which this process reads as any reader does: nobody is asked.  A transfer is four commands of CServer's, three
of which come through a command log; and its time goes from sending its frame to reading its end.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from statistics import median, quantiles
from typing import Annotated, NamedTuple

import grpc
import typer
import uvloop

from bank.v1.events_pb2 import TransferCompleted, TransferFailed
from benchmarks.frames import funding_frames, opening_frames, transfer_frames
from benchmarks.serving import APP, LOGS, Target, bench_folder, check_log, cpu_seconds, serving, target
from benchmarks.stream import EXECUTE, StreamClient
from bennu import log as bennu_log
from bennu.drill.beside import beside
from bennu.errors import Unavailable
from bennu.log.port import Log
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.stack.service import Service, clean_environ
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.stream_pb2 import ReplyFrame

COMPLETED, FAILED = TransferCompleted.DESCRIPTOR.full_name, TransferFailed.DESCRIPTOR.full_name
WARM_UP = 0.2
"""Of a round, before the first one."""
ROUND_TIMEOUT_S = 300.0


class Round(NamedTuple):
    """One measurement."""

    sagas: int
    seconds: float
    took_ms: list[float]
    """From sending a transfer's frame to reading its end."""
    cserver_cpu_s: float
    saga_cpu_s: float

    @property
    def per_second(self) -> float:
        return self.sagas / self.seconds


class Running:
    """Transfers under way: a bounded number, each with the time at which it was sent."""

    def __init__(self, frames: int) -> None:
        """`frames`, of one size, that may be in flight; another may follow when as many transfers have ended."""
        self._slots = asyncio.Semaphore(frames)
        self._size = 0
        self._sent_s: dict[str, float] = {}
        self._over = asyncio.Event()
        self._over.set()
        self.took_ms: list[float] = []

    async def send(self, names: Sequence[str]) -> None:
        """Return when these may be sent, which they are at once."""
        await self._slots.acquire()
        self._size = len(names)
        self._sent_s.update(dict.fromkeys(names, time.perf_counter()))
        self._over.clear()

    def ended(self, name: str, now_s: float) -> None:
        """One that was sent."""
        self.took_ms.append((now_s - self._sent_s.pop(name)) * 1000)
        if len(self.took_ms) % self._size == 0:
            self._slots.release()
        if not self._sent_s:
            self._over.set()

    async def wait_over(self) -> None:
        """Until all that were sent have ended."""
        await self._over.wait()


class Client:
    """Sends transfers, and reads how they end."""

    def __init__(self, log: Log, channel: grpc.aio.Channel, shape: tuple[int, int]) -> None:
        """`shape`: transfers a frame, frames in flight."""
        self._log = log
        self._execute: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(EXECUTE)
        self._size, self._frames = shape
        self._running = Running(self._frames)

    async def follow(self, topic: str) -> None:
        """Read this journal of events, for ever.  Raises `Unavailable` for a transfer that failed."""
        reader = JournalReader(Position(topic))
        async with aclosing(self._log.read(topic, 0)) as chunks:
            async for chunk in chunks:
                for offset, body in chunk:
                    verdict, record = reader.classify(offset, body)
                    if verdict is Verdict.BATCH and isinstance(record, EventBatch):
                        self._hear(record, time.perf_counter())

    def _hear(self, batch: EventBatch, now_s: float) -> None:
        types = list(batch.event_types)
        if FAILED in types:
            raise Unavailable(f"batch {batch.batch_no} says that a transfer failed: here none should")
        if COMPLETED not in types:
            return
        completed = types.index(COMPLETED)
        for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
            if index == completed:
                self._running.ended(TransferCompleted.FromString(raw).transfer, now_s)

    async def transfer(self, sagas: int, run: str) -> tuple[float, list[float]]:
        """Seconds until so many have ended, and milliseconds that each one took."""
        frames = transfer_frames(self._size, max(1, sagas // self._size), run=run)
        running = self._running = Running(self._frames)
        call = self._execute(timeout=ROUND_TIMEOUT_S)
        began_s = time.perf_counter()
        async with asyncio.timeout(ROUND_TIMEOUT_S):
            await asyncio.gather(self._write(call, frames, running), _all_carried_out(call))
            await running.wait_over()
        return time.perf_counter() - began_s, running.took_ms

    async def _write(
        self,
        call: grpc.aio.StreamStreamCall[bytes, bytes],
        frames: list[tuple[list[str], bytes]],
        running: Running,
    ) -> None:
        for names, frame in frames:
            await running.send(names)
            await call.write(frame)
        await call.done_writing()


async def _all_carried_out(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
    async for raw in call:
        if any(ReplyFrame.FromString(raw).codes):
            raise Unavailable("a transfer was refused: here none should")


class Suite(NamedTuple):
    """What is measured."""

    target: Target
    saga: Service
    partitions: int

    async def rounds(self, shape: tuple[int, int], *, sagas: int, rounds: int) -> list[Round]:
        """After a warm-up."""
        async with self._client(shape) as client:
            topics = [f"bank-events-{number}" for number in range(self.partitions)]
            return await beside(self._rounds(client, sagas, rounds), *map(client.follow, topics))

    @asynccontextmanager
    async def _client(self, shape: tuple[int, int]) -> AsyncIterator[Client]:
        async with (
            grpc.aio.insecure_channel(self.target.service.addresses["grpc"]) as channel,
            bennu_log.open(self.target.url) as log,
        ):
            sender = StreamClient(channel, self.target.log)
            await sender.send(opening_frames(shape[0]), in_flight=shape[1])
            await sender.send(funding_frames(shape[0]), in_flight=shape[1])
            yield Client(log, channel, shape)

    async def _rounds(self, client: Client, sagas: int, rounds: int) -> list[Round]:
        await client.transfer(int(sagas * WARM_UP), "warm")
        found = []
        for number in range(rounds):
            before = [cpu_seconds(service) for service in (self.target.service, self.saga)]
            seconds, took_ms = await client.transfer(sagas, f"r{number}")
            after = [cpu_seconds(service) for service in (self.target.service, self.saga)]
            used = [now - then for now, then in zip(after, before, strict=True)]
            found.append(Round(len(took_ms), seconds, took_ms, used[0], used[1]))
        return found


@contextmanager
def _started(log: str, partitions: int) -> Iterator[Suite]:
    with (
        bench_folder() as folder,
        target(log, folder, partitions=partitions) as found,
    ):
        flags = ["--app", APP, "--log", found.url, "--partitions", str(partitions)]
        with serving(Service("saga", flags, folder, environ=clean_environ())) as saga:
            yield Suite(found, saga, partitions)


def figures(rounds: Sequence[Round]) -> dict[str, object]:
    """Medians over the rounds."""
    percentiles = quantiles([each for found in rounds for each in found.took_ms], n=100)
    return {
        "sagas_per_second": round(median(found.per_second for found in rounds)),
        "rounds": [round(found.per_second) for found in rounds],
        "p50_ms": round(percentiles[49], 1),
        "p99_ms": round(percentiles[98], 1),
        "cserver_cpu_us_per_saga": round(median(found.cserver_cpu_s / found.sagas for found in rounds) * 1e6),
        "saga_cpu_us_per_saga": round(median(found.saga_cpu_s / found.sagas for found in rounds) * 1e6),
    }


def measure(  # noqa: PLR0913  each is a flag
    *,
    log: Annotated[str, typer.Option("--log", help=f"One of {', '.join(LOGS)}.")] = "sqlite",
    sagas: Annotated[int, typer.Option(min=1_000, max=1_000_000, help="Transfers a round.")] = 10_000,
    rounds: Annotated[int, typer.Option(min=1, max=50)] = 3,
    partitions: Annotated[int, typer.Option(min=1, max=64)] = 1,
    frame: Annotated[int, typer.Option(min=1, max=10_000, help="Transfers a frame.")] = 100,
    in_flight: Annotated[int, typer.Option(min=1, max=1_000, help="Frames whose transfers have not all ended.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Transfers a second from request to end, with withdrawal, deposit and completion by the saga in between."""
    check_log(log)
    with _started(log, partitions) as suite:
        found = figures(uvloop.run(suite.rounds((frame, in_flight), sagas=sagas, rounds=rounds)))
    for name, value in found.items():
        typer.echo(f"{name.replace('_', ' '):28} {value!s:>20}")
    if as_json:
        told = {"log": log, "partitions": partitions, "sagas": sagas, "frame": frame, "in_flight": in_flight}
        typer.echo(json.dumps(told | found))
