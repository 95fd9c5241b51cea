"""What a leader's callers feel of a snapshot that is being taken: `bennu bench snapshot`.

A real CServer leads a bank of many accounts; this process sends it commands at a fixed pace, whatever it answers, and
measures from the moment each was due.  By turns: nothing else happens, or another process takes one snapshot after
another, replaying what came since the last one.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, count
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Annotated

import grpc
import typer
import uvloop

from benchmarks.commands import EXECUTE
from benchmarks.frames import deposit_frames, opening_frames
from benchmarks.journals import TOPIC, Leader, write
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


def measure(
    *,
    accounts: Annotated[int, typer.Option(min=1_000, max=10_000_000, help="Accounts of the bank.")] = 200_000,
    per_second: Annotated[int, typer.Option(min=10, max=20_000, help="Commands a second.")] = 500,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Of each phase.")] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds: a quiet phase, and one with snapshots.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """The leader's p99 while snapshots are taken by another process, against its p99 while none is."""
    with TemporaryDirectory(prefix="bennu-bench-", ignore_cleanup_errors=True) as place:
        folder = Path(place)
        folder.chmod(0o711)  # for root: Postgres runs as another user, who must get through
        with Postgres(folder / "postgres") as postgres, _leader(folder, accounts) as leader:
            taking = Snapshots(f"sqlite:{folder / 'log'}", postgres.dsn)
            found = uvloop.run(_phases(leader, taking, (per_second, seconds), rounds=rounds))
    for key, value in found.items():
        typer.echo(f"{key:30} {value}")
    if as_json:
        typer.echo(json.dumps(found))


@contextmanager
def _leader(folder: Path, accounts: int) -> Iterator[Service]:
    """It has replayed so many accounts, and is gone after the block."""
    log = f"sqlite:{folder / 'log'}"
    asyncio.run(_write_accounts(log, accounts))
    flags = ["--app", "bank.app:app", "--log", log, "--grpc", "127.0.0.1:0"]
    place = folder / "leader"
    place.mkdir()
    with ExitStack() as stack:
        service = Service("cserver", flags, place, environ=clean_environ())
        stack.callback(service.kill)
        service.start()
        service.wait_serving()
        yield service


async def _write_accounts(url: str, accounts: int) -> None:
    async with bennu_log.open(url) as log:
        await log.create(TOPIC)
        leader = Leader(window_count=accounts)
        await write(log, chain([leader.begin()], leader.opening(accounts)))


class Snapshots:
    """Another process, that takes them one after another inside the block."""

    def __init__(self, log_url: str, dsn: str) -> None:
        self._log_url = log_url
        self._environ = clean_environ() | {"BENNU_POSTGRES": dsn, "PYTHONPATH": os.pathsep.join([str(ROOT)])}
        self.taken: list[float] = []
        """Seconds of each."""

    async def for_ever(self) -> None:
        """Until cancelled; the one under way ends with it.  Raises `Unavailable` when one fails."""
        arguments = [
            sys.executable,
            "-m",
            "bennu.cli.main",
            "snapshot",
            "--app",
            "bank.app:app",
            "--log",
            self._log_url,
            "--json",
        ]
        while True:
            began_s = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                "nice", f"-n{NICE}", *arguments, env=self._environ, stdout=subprocess.DEVNULL
            )
            try:
                if code := await process.wait():
                    raise Unavailable(f"bennu snapshot ended with code {code}")
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            self.taken.append(time.perf_counter() - began_s)


async def _phases(leader: Service, snapshots: Snapshots, pace: tuple[int, float], *, rounds: int) -> dict[str, object]:
    async with grpc.aio.insecure_channel(leader.addresses["grpc"]) as channel:
        sender = Sender(channel)
        await sender.send(opening_frames(FRAME), 10_000)
        quiet: list[Sequence[float]] = []
        busy: list[Sequence[float]] = []
        for _ in range(rounds):
            quiet.append(await sender.phase(pace))
            taking = asyncio.create_task(snapshots.for_ever())
            busy.append(await sender.phase(pace))
            taking.cancel()
            await asyncio.wait((taking,))
            if not taking.cancelled() and (problem := taking.exception()):
                raise problem
    before, during = _p99(quiet), _p99(busy)
    return {
        "snapshots": len(snapshots.taken),
        "snapshot_s": round(median(snapshots.taken), 2) if snapshots.taken else None,
        "p99_ms_without": round(before, 2),
        "p99_ms_with": round(during, 2),
        "p50_ms_without": round(median(chain(*quiet)), 2),
        "p50_ms_with": round(median(chain(*busy)), 2),
        "ratio": round(during / before, 2),
    }


def _p99(phases: list[Sequence[float]]) -> float:
    """Median over the rounds."""
    return median(quantiles(phase, n=100)[98] for phase in phases)


class Sender:
    """Sends frames of `FRAME` commands at a pace."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        # Bytes in, bytes out: what is measured is the server, not this client's parsing.
        self._execute: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(EXECUTE)
        self._serial = count()

    async def phase(self, pace: tuple[int, float]) -> Sequence[float]:
        """Milliseconds of each frame."""
        per_second, seconds = pace
        frames = deposit_frames(FRAME, round(per_second * seconds / FRAME), run=f"p{next(self._serial)}")
        return await self.send(frames, per_second)

    async def send(self, frames: list[bytes], per_second: int) -> Sequence[float]:
        """As `phase`, of these.  Raises `Unavailable` when a command was not carried out."""
        call = self._execute(timeout=CALL_TIMEOUT_S)
        due_s = [time.perf_counter() + number * FRAME / per_second for number in range(len(frames))]
        took_ms: list[float] = []

        async def write_all() -> None:
            for frame, at_s in zip(frames, due_s, strict=True):
                await asyncio.sleep(max(0.0, at_s - time.perf_counter()))
                await call.write(frame)
            await call.done_writing()

        writing = asyncio.create_task(write_all())
        async for raw in call:
            answer = ReplyFrame.FromString(raw)
            took_ms.append((time.perf_counter() - due_s[answer.frame_id]) * 1000)
            if any(answer.codes):
                raise Unavailable(f"a command ended with code {max(answer.codes)}")
        await writing
        return took_ms
