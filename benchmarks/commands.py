"""Durable commands a second, through the stream, for each log in one run: `bennu bench commands`.

A real CServer process leads one partition of the bank; this process is the client.  The frames are made beforehand,
so that the client costs little; it keeps a fixed number of them in flight.  Each log is measured in several rounds,
by turns with the others, and its median is shown: what else the machine does then hits all of them alike.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Annotated
from urllib.request import urlopen

import grpc
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.frames import deposit_frames, opening_frames
from bennu.drill.rebuilding import bennu
from bennu.errors import Unavailable
from bennu.stack.rocketmq import RocketMQ
from bennu.stack.service import Service, clean_environ
from bennu.stack.suite import SuiteSettings
from bennu.v1.stream_pb2 import ReplyFrame

APP = "bank.app:app"
LOGS = ("memory", "sqlite", "rocketmq")
EXECUTE = "/bennu.v1.CommandStream/Execute"
CALL_TIMEOUT_S = 600.0
WIDTH = 140
CPU_METRIC = "process_cpu_seconds_total"


@dataclass(frozen=True)
class Round:
    """One measurement."""

    commands: int
    seconds: float
    frame_ms: list[float]
    """From sending a frame to its answer."""
    server_cpu_s: float
    client_cpu_s: float

    @property
    def per_second(self) -> float:
        return self.commands / self.seconds


@dataclass
class Target:
    """A CServer over one log."""

    log: str
    url: str
    service: Service
    rounds: list[Round] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """What the server's process has used so far."""
        return cpu_seconds(self.service)

    def figures(self) -> dict[str, object]:
        """Medians over the rounds."""
        frame_ms = [each for found in self.rounds for each in found.frame_ms]
        percentiles = quantiles(frame_ms, n=100)

        def cost_us(cpu: str) -> float:
            costs: list[float] = [getattr(found, cpu) / found.commands * 1e6 for found in self.rounds]
            return round(median(costs), 1)

        return {
            "log": self.log,
            "commands_per_second": round(median(found.per_second for found in self.rounds)),
            "rounds": [round(found.per_second) for found in self.rounds],
            "frame_p50_ms": round(percentiles[49], 2),
            "frame_p99_ms": round(percentiles[98], 2),
            "server_cpu_us_per_command": cost_us("server_cpu_s"),
            "client_cpu_us_per_command": cost_us("client_cpu_s"),
        }


def measure(  # noqa: PLR0913  each is a flag
    *,
    logs: Annotated[list[str] | None, typer.Option("--log", help=f"One of {', '.join(LOGS)}; may be repeated.")] = None,
    frame: Annotated[int, typer.Option(min=1, max=10_000, help="Commands a frame.")] = 100,
    in_flight: Annotated[int, typer.Option(min=1, max=64, help="Frames in flight.")] = 40,
    commands: Annotated[int, typer.Option(min=1_000, max=5_000_000, help="Commands a round.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds for each log.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Durable commands a second through the stream, for each log, in one run.  `memory` is durable nowhere."""
    chosen = logs or list(LOGS)
    if unknown := set(chosen) - set(LOGS):
        raise typer.BadParameter(f"no log is called {', '.join(sorted(unknown))}; there are {', '.join(LOGS)}")
    with TemporaryDirectory(prefix="bennu-bench-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        targets = [stack.enter_context(target(name, Path(folder))) for name in chosen]
        uvloop.run(_all_rounds(targets, (frame, in_flight), frames=max(2, commands // frame), rounds=rounds))
        figures = [found.figures() for found in targets]
    _show(figures, f"{frame} commands a frame, {in_flight} frames in flight, median of {rounds} rounds")
    if as_json:
        typer.echo(json.dumps({"frame": frame, "in_flight": in_flight, "logs": figures}))


def cpu_seconds(service: Service) -> float:
    """What this process has used so far."""
    with urlopen(f"http://{service.addresses['ops']}/metrics", timeout=5) as answer:
        lines: list[str] = answer.read().decode().splitlines()
    found = next(line for line in lines if line.startswith(f"{CPU_METRIC} "))
    return float(found.split()[1])


@contextmanager
def target(name: str, folder: Path, *, partitions: int = 1) -> Iterator[Target]:
    """A CServer that serves over this log, and is gone after the block."""
    with ExitStack() as stack:
        url = {"memory": "memory:", "sqlite": f"sqlite:{folder / 'log'}"}.get(name)
        if url is None:
            typer.echo("starting RocketMQ ...", err=True)
            url = stack.enter_context(RocketMQ(folder / "rocketmq")).log_url
            _make_topics(url, partitions)
        flags = ["--app", APP, "--log", url, "--grpc", "127.0.0.1:0", "--partitions", str(partitions)]
        place = folder / name
        place.mkdir(exist_ok=True)
        service = Service("cserver", flags, place, environ=clean_environ())
        stack.callback(service.kill)
        service.start()
        service.wait_serving()
        yield Target(name, url, service)


def _make_topics(url: str, partitions: int) -> None:
    # Not here: gRPC's poller serves the loop of this process, and would be left with one that was closed.
    flags = ("--app", APP, "--log", url, "--partitions", str(partitions))
    bennu("topics", "create", *flags, settings=SuiteSettings(APP, "bank"))


async def _all_rounds(targets: list[Target], shape: tuple[int, int], *, frames: int, rounds: int) -> None:
    size, in_flight = shape
    async with AsyncExitStack() as stack:
        senders = []
        for found in targets:
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(found.service.addresses["grpc"]))
            senders.append(Sender(found, channel, in_flight))
        for sender in senders:
            await sender.send(opening_frames(size))
            await sender.send(deposit_frames(size, frames // 5 + 1, run="warm"))
        for number in range(rounds):
            for sender in senders:
                await sender.round(deposit_frames(size, frames, run=f"r{number}"))


class Sender:
    """The client of one target."""

    def __init__(self, target: Target, channel: grpc.aio.Channel, in_flight: int) -> None:
        self._target = target
        # Bytes in, bytes out: what is measured is the server, not this client's parsing.
        self._execute: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(EXECUTE)
        self._in_flight = in_flight

    async def round(self, frames: list[bytes]) -> None:
        """Measure."""
        server_s, client_s, began_s = self._target.cpu_seconds(), time.process_time(), time.perf_counter()
        frame_ms, commands = await self.send(frames)
        took_s = time.perf_counter() - began_s
        client_s, server_s = time.process_time() - client_s, self._target.cpu_seconds() - server_s
        self._target.rounds.append(Round(commands, took_s, frame_ms, server_s, client_s))

    async def send(self, frames: list[bytes]) -> tuple[list[float], int]:
        """(milliseconds of each frame, commands).  Raises `Unavailable` when a command was not carried out."""
        call = self._execute(timeout=CALL_TIMEOUT_S)
        slots = asyncio.Semaphore(self._in_flight)
        sent_s: list[float] = []
        answers: list[tuple[float, bytes]] = []

        async def write() -> None:
            for frame in frames:
                await slots.acquire()
                sent_s.append(time.perf_counter())
                await call.write(frame)
            await call.done_writing()

        writing = asyncio.create_task(write())
        async for answer in call:
            answers.append((time.perf_counter(), answer))
            slots.release()
        await writing
        return self._judged(answers, sent_s)

    def _judged(self, answers: list[tuple[float, bytes]], sent_s: list[float]) -> tuple[list[float], int]:
        if len(answers) != len(sent_s):
            raise Unavailable(f"{self._target.log}: {len(answers)} of {len(sent_s)} frames were answered")
        frame_ms, commands = [], 0
        for at_s, raw in answers:
            answer = ReplyFrame.FromString(raw)
            if any(answer.codes):
                raise Unavailable(f"{self._target.log}: a command ended with code {max(answer.codes)}")
            frame_ms.append((at_s - sent_s[answer.frame_id]) * 1000)
            commands += len(answer.codes)
        return frame_ms, commands


def _show(figures: list[dict[str, object]], title: str) -> None:
    table = Table(title=title, title_justify="left")
    for heading in figures[0]:
        table.add_column(heading.replace("_", " "), justify="right")
    for row in figures:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in row.values()))
    Console(width=WIDTH).print(table)
