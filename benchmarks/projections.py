"""How fast QServer fills tables, and how old they are under load: `bennu bench projections`.

A real QServer process reads the journal of a busy bank from its log, and writes accounts, entries and transfers
into a real Postgres, each transaction with its position.  First from a stored journal, as fast as it can; then live,
beside a writer with a steady rate: the lag of a batch goes from its recorded time, before it is appended, to a reader
of the table seeing its last row, asked for every few milliseconds.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, NamedTuple, TypeAlias

import asyncpg
import typer
import uvloop

from benchmarks.journals import TOPIC, Leader
from benchmarks.serving import APP, LOGS, bench_folder, check_log, cpu_seconds, log_url, make_topics
from benchmarks.traffic import CYCLE, Traffic
from bennu import log as bennu_log
from bennu.log.port import Log
from bennu.stack.postgres import Postgres
from bennu.stack.service import Service, clean_environ, told_of_postgres

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

BATCH = 100
"""Commands a batch, as a busy CServer makes it of one frame."""
ACCOUNTS = 10_000
APPENDS = 100
"""That are under way at once while the journal is made, in the embedded log, which keeps them in order."""
PROBE_S = 0.004
CATCH_UP_TIMEOUT_S = 300.0
LIVE_TIMEOUT_S = 60.0
WARM_UP_S = 2.0
"""Of the live part, whose lags do not count."""

PROJECTED = "SELECT next_seq FROM bennu.positions WHERE app = 'bank' AND projection = 'ledger' AND partition = 0"
VISIBLE = "SELECT max(seq) FROM bank.entries WHERE partition = 0"


class CaughtUp(NamedTuple):
    """One round from the stored journal."""

    events: int
    seconds: float
    cpu_s: float
    """Of QServer."""

    @property
    def per_second(self) -> float:
        return self.events / self.seconds


@dataclass
class Bank:
    """A journal, and who writes it."""

    log: Log
    at_once: int
    """Appends."""
    leader: Leader = field(default_factory=lambda: Leader(window_count=100_000))
    traffic: Traffic = field(default_factory=lambda: Traffic(ACCOUNTS))

    async def store(self, events: int) -> None:
        """Open the accounts, then write so many events."""
        await self.log.create(TOPIC)
        await self._append([self.leader.begin(), *self.leader.opening(ACCOUNTS)])
        bodies: list[bytes] = []
        for batch in self.traffic.batches(events, BATCH):
            bodies.append(self.leader.batch(batch))
            if len(bodies) >= self.at_once:
                await self._append(bodies)
                bodies = []
        await self._append(bodies)

    async def _append(self, bodies: Sequence[bytes]) -> None:
        for first in range(0, len(bodies), self.at_once):
            await asyncio.gather(*(self.log.append(TOPIC, body) for body in bodies[first : first + self.at_once]))

    async def live(self, events: int, *, rate: int) -> list[tuple[int, float]]:
        """Write so many events, so many a second; of each batch the last number, and its recorded time."""
        began_s, written = time.time(), list[tuple[int, float]]()
        for number, batch in enumerate(self.traffic.batches(events, BATCH)):
            await asyncio.sleep(max(0.0, began_s + number * BATCH / rate - time.time()))
            now_s = time.time()
            await self.log.append(TOPIC, self.leader.batch(batch, recorded_at_us=int(now_s * 1e6)))
            written.append((self.leader.position.next_seq - 1, now_s))
        return written


@dataclass(frozen=True)
class Reader:
    """Looks into the tables, as people do."""

    connection: Connection

    async def catch_up(self, service: Service, end: int) -> CaughtUp:
        """From the first rows that are there to all of them; `end` is the next event's number."""
        async with asyncio.timeout(CATCH_UP_TIMEOUT_S):
            first = await self._projected(1)
            began_s, cpu_s = time.perf_counter(), await asyncio.to_thread(cpu_seconds, service)
            await self._projected(end - 1)
            took_s = time.perf_counter() - began_s
            return CaughtUp(end - first, took_s, await asyncio.to_thread(cpu_seconds, service) - cpu_s)

    async def _projected(self, beyond: int) -> int:
        """The next event's number once it is greater."""
        while True:
            try:
                found: int | None = await self.connection.fetchval(PROJECTED)
            except asyncpg.UndefinedTableError:
                found = None  # QServer has not made its tables yet
            if found is not None and found > beyond:
                return found
            await asyncio.sleep(PROBE_S)

    async def seen(self, until: int) -> list[tuple[int, float]]:
        """What was seen, and when, until this event is there."""
        found, newest = list[tuple[int, float]](), 0
        async with asyncio.timeout(LIVE_TIMEOUT_S):
            while newest < until:
                now: int = await self.connection.fetchval(VISIBLE)
                if now != newest:
                    newest = now
                    found.append((now, time.time()))
                await asyncio.sleep(PROBE_S)
        return found


def lags_ms(written: Sequence[tuple[int, float]], seen: Sequence[tuple[int, float]]) -> list[float]:
    """Of each batch, from its recorded time to the first look that shows its last event."""
    found, looks = [], iter(seen)
    newest, at_s = next(looks)
    for last, recorded_s in written:
        while newest < last:
            newest, at_s = next(looks)
        found.append((at_s - recorded_s) * 1000)
    return found


@contextmanager
def _service(url: str, dsn: str, folder: Path) -> Iterator[Service]:
    flags = ["--app", APP, "--log", url, "--partitions", "1"]
    service = Service("qserver", flags, folder, environ=told_of_postgres(clean_environ(), dsn))
    try:
        service.start()
        yield service
    finally:
        service.kill()


@asynccontextmanager
async def _database(dsn: str, name: str) -> AsyncIterator[tuple[str, Connection]]:
    admin = await asyncpg.connect(dsn)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
    finally:
        await admin.close()
    own = dsn.rpartition("/")[0] + f"/{name}"
    connection = await asyncpg.connect(own)
    try:
        yield own, connection
    finally:
        await connection.close()


@asynccontextmanager
async def _round(url: str, dsn: str, folder: Path, *, number: int) -> AsyncIterator[tuple[Reader, Service]]:
    """A QServer that fills an empty database, and who looks at it."""
    async with _database(dsn, f"round_{number}") as (own, connection):
        with _service(url, own, folder) as service:
            yield Reader(connection), service


class Size(NamedTuple):
    """What is asked for."""

    events: int
    rounds: int
    rate: int
    seconds: int


async def _measured(folder: Path, dsn: str, size: Size, *, url: str) -> dict[str, object]:
    async with bennu_log.open(url) as log:
        bank = Bank(log, APPENDS if url.startswith("sqlite:") else 1)
        typer.echo(f"storing {size.events:,} events ...", err=True)
        await bank.store(size.events)
        caught_up = []
        for number in range(1, size.rounds):
            async with _round(url, dsn, folder, number=number) as (reader, service):
                caught_up.append(await reader.catch_up(service, bank.leader.position.next_seq))
        async with _round(url, dsn, folder, number=size.rounds) as (reader, service):
            caught_up.append(await reader.catch_up(service, bank.leader.position.next_seq))
            live = await _live(bank, reader, service, size=size)
    return figures(caught_up, live)


class Live(NamedTuple):
    """The live part."""

    lags_ms: list[float]
    per_second: float
    cpu_us_per_event: float
    """Of QServer."""


async def _live(bank: Bank, reader: Reader, service: Service, *, size: Size) -> Live:
    warm_up = int(WARM_UP_S * size.rate) // BATCH
    events = warm_up * BATCH + size.rate * size.seconds
    end = bank.leader.position.next_seq - 1 + -(-events // BATCH) * BATCH
    before_s = await asyncio.to_thread(cpu_seconds, service)
    written, seen = await asyncio.gather(bank.live(events, rate=size.rate), reader.seen(end))
    used_s = await asyncio.to_thread(cpu_seconds, service) - before_s
    counted = written[warm_up:]
    per_second = (len(counted) - 1) * BATCH / (counted[-1][1] - counted[0][1])
    return Live(lags_ms(counted, seen), per_second, used_s / events * 1e6)


def figures(caught_up: Sequence[CaughtUp], live: Live) -> dict[str, object]:
    """Medians over the rounds, and the lags of the live batches."""
    percentiles = quantiles(live.lags_ms, n=100)
    return {
        "events_per_second": round(median(found.per_second for found in caught_up)),
        "rounds": [round(found.per_second) for found in caught_up],
        "qserver_cpu_us_per_event": round(median(found.cpu_s / found.events for found in caught_up) * 1e6, 1),
        "live_events_per_second": round(live.per_second),
        "lag_p50_ms": round(percentiles[49], 1),
        "lag_p99_ms": round(percentiles[98], 1),
        "lag_max_ms": round(max(live.lags_ms), 1),
        "live_qserver_cpu_us_per_event": round(live.cpu_us_per_event, 1),
    }


def measure(  # noqa: PLR0913  each is a flag
    *,
    log: Annotated[str, typer.Option("--log", help=f"One of {', '.join(LOGS)}.")] = "sqlite",
    events: Annotated[int, typer.Option(min=10_000, max=20_000_000, help="Events stored, and caught up.")] = 300_000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds of catching up, each into new tables.")] = 3,
    rate: Annotated[int, typer.Option(min=1_000, max=100_000, help="Events a second, live.")] = 5_000,
    seconds: Annotated[int, typer.Option(min=2, max=3_600, help="Of the live part.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Events a second from a stored journal into tables, and milliseconds from an event to its row under load."""
    check_log(log)
    with bench_folder() as folder, Postgres(folder / "postgres") as postgres, log_url(log, folder) as url:
        if log == "rocketmq":
            make_topics(url, 1)
        found = uvloop.run(_measured(folder, postgres.dsn, Size(events, rounds, rate, seconds), url=url))
    for name, value in found.items():
        typer.echo(f"{name.replace('_', ' '):32} {value!s:>24}")
    if as_json:
        told = {"log": log, "events": events, "batch": BATCH, "accounts": ACCOUNTS, "rate": rate, "seconds": seconds}
        typer.echo(json.dumps(told | found))


assert BATCH % CYCLE == 0, "the last event of a batch is a deposit, which has rows in `entries`"
