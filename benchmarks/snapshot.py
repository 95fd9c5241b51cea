"""What a leader's callers feel of a snapshot that is being taken: `bennu bench snapshot`.

A real CServer leads a bank of many accounts; this process sends it commands at a fixed pace, whatever it answers, and
measures from the moment each was due.  By turns: nothing else happens, or `bennu snapshot` takes one, as it does by
default, beside the leader: it starts, loads the last snapshot, replays what came since, writes all of it, and forgets
the last one.  Leader, client, that process and Postgres share this machine's processors and its disk.

Only what was due while a snapshot was being taken counts as such, and each is measured from the start of its process
to the end: there is no quiet time in it, other than what taking one leaves between two slices.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, NamedTuple

import grpc
import typer
import uvloop

from benchmarks.frames import deposit_frames, opening_frames
from benchmarks.journals import TOPIC, Leader, write
from benchmarks.serving import LOGS, bench_folder, check_log, log_url, make_topics, serving
from benchmarks.stream import EXECUTE
from bennu import log as bennu_log
from bennu.cli.programs import ROOT
from bennu.errors import Unavailable
from bennu.stack.postgres import Postgres
from bennu.stack.service import Service, clean_environ
from bennu.v1.stream_pb2 import ReplyFrame

FRAME = 10
NICE = 10
"""Of the process that takes snapshots: nobody waits for it."""
CALL_TIMEOUT_S = 600.0
LOOK_S = 1.0
"""How often it is looked whether the snapshot is done."""


def measure(  # noqa: PLR0913  each is a flag
    *,
    log: Annotated[str, typer.Option("--log", help=f"One of {', '.join(LOGS)}.")] = "sqlite",
    accounts: Annotated[int, typer.Option(min=1_000, max=10_000_000, help="Accounts of the bank.")] = 100_000,
    per_second: Annotated[int, typer.Option(min=10, max=20_000, help="Commands a second.")] = 500,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Of each quiet phase.")] = 20.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds: a quiet phase, and one snapshot.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """The leader's p99 while snapshots are taken by another process, against its p99 while none is."""
    check_log(log)
    with bench_folder() as folder, Postgres(folder / "postgres") as postgres, log_url(log, folder) as url:
        if log == "rocketmq":
            make_topics(url, 1)
        taking = Snapshots(url, postgres.dsn)
        found = uvloop.run(_measured(folder, taking, (per_second, seconds), accounts=accounts, rounds=rounds))
    found = {"log": log, "accounts": accounts, "per_second": per_second} | found
    for key, value in found.items():
        typer.echo(f"{key:30} {value}")
    if as_json:
        typer.echo(json.dumps(found))


async def _measured(
    folder: Path, taking: "Snapshots", pace: tuple[int, float], *, accounts: int, rounds: int
) -> dict[str, object]:
    """In one loop: gRPC would be left with one that was closed."""
    await _write_accounts(taking.log_url, accounts)
    with _leader(folder, taking.log_url) as leader:
        return await _phases(leader, taking, pace, rounds=rounds)


@contextmanager
def _leader(folder: Path, log: str) -> Iterator[Service]:
    """It has replayed this log, and is gone after the block."""
    flags = ["--app", "bank.app:app", "--log", log, "--grpc", "127.0.0.1:0"]
    place = folder / "leader"
    place.mkdir()
    with serving(Service("cserver", flags, place, environ=clean_environ())) as service:
        yield service


async def _write_accounts(url: str, accounts: int) -> None:
    async with bennu_log.open(url) as log:
        await log.create(TOPIC)
        leader = Leader(window_count=accounts)
        await write(log, chain([leader.begin()], leader.opening(accounts)))


class Timed(NamedTuple):
    """A frame that was answered."""

    due_s: float
    took_ms: float


class Snapshots:
    """Another process, that takes one and ends, as an operator's timer would start it."""

    def __init__(self, log_url: str, dsn: str) -> None:
        self.log_url = log_url
        self._environ = clean_environ() | {"BENNU_POSTGRES": dsn, "PYTHONPATH": os.pathsep.join([str(ROOT)])}
        self.taken: list[float] = []
        """Seconds of each."""

    async def take(self) -> float:
        """When it ended.  Raises `Unavailable` when it failed."""
        flags = ["--app", "bank.app:app", "--log", self.log_url, "--keep", "1"]
        command = ["nice", f"-n{NICE}", sys.executable, "-m", "bennu.cli.main", "snapshot", *flags]
        began_s = time.perf_counter()
        process = await asyncio.create_subprocess_exec(*command, env=self._environ, stdout=subprocess.DEVNULL)
        try:
            if code := await process.wait():
                raise Unavailable(f"bennu snapshot ended with code {code}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        ended_s = time.perf_counter()
        self.taken.append(ended_s - began_s)
        return ended_s


async def _phases(leader: Service, snapshots: Snapshots, pace: tuple[int, float], *, rounds: int) -> dict[str, object]:
    async with grpc.aio.insecure_channel(leader.addresses["grpc"]) as channel:
        sender = Sender(channel)
        await sender.send(opening_frames(FRAME), 10_000)
        quiet: list[Sequence[float]] = []
        busy: list[Sequence[float]] = []
        for _ in range(rounds):
            quiet.append([each.took_ms for each in await sender.phase(pace)])
            busy.append(await _while_taking(sender, snapshots, pace[0]))
    before, during = _p99(quiet), _p99(busy)
    return {
        "snapshots": len(snapshots.taken),
        "snapshot_s": round(median(snapshots.taken), 2),
        "frames_without": sum(map(len, quiet)),
        "frames_with": sum(map(len, busy)),
        "p99_ms_without": round(before, 2),
        "p99_ms_with": round(during, 2),
        "p50_ms_without": round(median(chain(*quiet)), 2),
        "p50_ms_with": round(median(chain(*busy)), 2),
        "ratio": round(during / before, 2),
    }


async def _while_taking(sender: "Sender", snapshots: Snapshots, per_second: int) -> Sequence[float]:
    """Milliseconds of each frame that was due while one snapshot was being taken, from its first moment to its last."""
    frames: list[Timed] = []
    taking = asyncio.create_task(snapshots.take())
    try:
        while not taking.done():
            frames += await sender.phase((per_second, LOOK_S))
        ended_s = await taking
    finally:
        taking.cancel()
        await asyncio.wait((taking,))
    return [each.took_ms for each in frames if each.due_s <= ended_s]


def _p99(phases: list[Sequence[float]]) -> float:
    """Median over the rounds."""
    return median(quantiles(phase, n=100)[98] for phase in phases)


class Sender:
    """Sends frames of `FRAME` commands at a pace."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        # Bytes in, bytes out: what is measured is the server, not this client's parsing.
        self._execute: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(EXECUTE)
        self._serial = count()

    async def phase(self, pace: tuple[int, float]) -> Sequence[Timed]:
        """So many commands a second, for so many seconds."""
        per_second, seconds = pace
        frames = deposit_frames(FRAME, round(per_second * seconds / FRAME), run=f"p{next(self._serial)}")
        return await self.send(frames, per_second)

    async def send(self, frames: list[bytes], per_second: int) -> Sequence[Timed]:
        """As `phase`, of these.  Raises `Unavailable` when a command was not carried out."""
        call = self._execute(timeout=CALL_TIMEOUT_S)
        due_s = [time.perf_counter() + number * FRAME / per_second for number in range(len(frames))]
        answered: list[Timed] = []

        async def write_all() -> None:
            for frame, at_s in zip(frames, due_s, strict=True):
                await asyncio.sleep(max(0.0, at_s - time.perf_counter()))
                await call.write(frame)
            await call.done_writing()

        writing = asyncio.create_task(write_all())
        async for raw in call:
            answer = ReplyFrame.FromString(raw)
            due = due_s[answer.frame_id]
            answered.append(Timed(due, (time.perf_counter() - due) * 1000))
            if any(answer.codes):
                raise Unavailable(f"a command ended with code {max(answer.codes)}")
        await writing
        return answered
