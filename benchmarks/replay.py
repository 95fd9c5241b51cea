"""How fast a replica reads its journal, what it takes of memory, and how soon it is back: `bennu bench replay`.

What is measured is what a follower does with each record: decode, judge, evolve, compare the digest of the states it
touched, keep the replies.  It reads them from the log that is asked for; Postgres is a real one.
"""

import gc
import json
import time
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple

import typer
import uvloop

from bank.app import app
from benchmarks.journals import BEGAN_US, TOPIC, Leader, blank_state, write
from benchmarks.serving import LOGS, bench_folder, check_log, log_url
from bennu import log as bennu_log
from bennu.log.port import Log
from bennu.ops.pages import GROWTH
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import Position, decode
from bennu.snapshots.format import Draft
from bennu.snapshots.once import catch_up
from bennu.snapshots.restore import restore
from bennu.snapshots.store import SnapshotStore
from bennu.stack.postgres import Postgres
from bennu.v1.journal_pb2 import EventBatch

FEW = 1_000
"""Accounts whose states stay in the processor's caches, as in `bennu bench commands`."""
PAGE_BYTES = 4096


def measure(  # noqa: PLR0913  each is a flag
    *,
    log: Annotated[str, typer.Option("--log", help=f"One of {', '.join(LOGS)}.")] = "sqlite",
    accounts: Annotated[int, typer.Option(min=1_000, max=10_000_000, help="Accounts of the large bank.")] = 1_000_000,
    events: Annotated[int, typer.Option(min=10_000, max=20_000_000, help="Events replayed a round.")] = 500_000,
    later: Annotated[int, typer.Option(min=1_000, max=10_000_000, help="Events after the snapshot.")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds of replay; the median is shown.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Replayed events a second, bytes an account, seconds until a replica is back from its snapshot."""
    check_log(log)
    found: dict[str, object] = {"log": log, "accounts": accounts, "events": events, "later": later}
    found |= memory(accounts)
    with bench_folder() as folder, Postgres(folder / "postgres") as postgres:
        found |= uvloop.run(_from_logs(log, folder, postgres.dsn, size=Size(accounts, events, later, rounds)))
    for key, value in found.items():
        typer.echo(f"{key:40} {value:>14,}" if isinstance(value, int | float) else f"{key:40} {value}")
    if as_json:
        typer.echo(json.dumps(found))


def memory(accounts: int) -> dict[str, object]:
    """Of the process, by account: its state and its key."""
    bodies, fold = Leader(window_count=1), AggregateFold(app)
    bodies.begin()
    before = _resident()
    for body in bodies.opening(accounts):
        _apply(fold, body)
    # The leader that writes has as many states as the fold that reads.
    return {"bytes_an_account": round((_resident() - before) / accounts / 2)}


def _apply(fold: AggregateFold, body: bytes) -> None:
    batch = decode(body, where=TOPIC)
    assert isinstance(batch, EventBatch)
    fold.apply(batch, TOPIC)
    fold.digest()


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


class Size(NamedTuple):
    """How much of everything."""

    accounts: int
    events: int
    later: int
    rounds: int


async def _from_logs(log: str, folder: Path, dsn: str, *, size: Size) -> dict[str, object]:
    """All that reads a log, each a new one.  In one loop: gRPC would be left with one that was closed."""
    found: dict[str, object] = {}
    with log_url(log, _new(folder / "restart")) as url:
        found |= await back_again(url, dsn, (size.accounts, size.later))
    for accounts in (FEW, size.accounts):
        with log_url(log, _new(folder / f"accounts-{accounts}")) as url:
            found |= await rate(url, accounts, events=size.events, rounds=size.rounds)
    return found


def _new(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


async def back_again(url: str, dsn: str, size: tuple[int, int]) -> dict[str, object]:
    """Seconds to take a snapshot of all accounts with as many replies, and to be back from it and what came later."""
    accounts, later = size
    store = SnapshotStore(dsn, name="bench")
    async with bennu_log.open(url) as log:
        await log.create(TOPIC)
        leader = Leader(window_count=accounts)
        await write(log, chain([leader.begin()], leader.opening(accounts)))
        state = blank_state()
        position = await catch_up(log, state, Position(TOPIC))
        began_s = time.perf_counter()
        written = await store.write(Draft(state, position, created_at_us=BEGAN_US))
        took_s = time.perf_counter() - began_s
        del state
        await write(log, leader.depositing(later, accounts=accounts))
        gc.collect()
        began_s = time.perf_counter()
        restored = await restore(store, log, TOPIC, new_state=blank_state)
        assert restored is not None
        loaded_s = time.perf_counter() - began_s
        ended = await catch_up(log, *restored)
        back_s = time.perf_counter() - began_s
        assert ended == leader.position, "all of it was read"
    return {
        "snapshot_bytes": written.header.size,
        "taken_in_s": round(took_s, 2),
        "loaded_in_s": round(loaded_s, 2),
        "back_in_s": round(back_s, 2),
    }


async def rate(url: str, accounts: int, *, events: int, rounds: int) -> dict[str, object]:
    """Events a second, of deposits to so many accounts; half of the replies are forgotten again."""
    leader = Leader(window_count=events // 2)
    opening = [leader.begin(), *leader.opening(accounts)]
    async with bennu_log.open(url) as log:
        await log.create(TOPIC)
        await write(log, chain(opening, leader.depositing(events, accounts=accounts)))
        wall_s, cpu_s = zip(*[await _replay_s(opening, log) for _ in range(rounds)], strict=True)
    return {
        f"events_per_second_{accounts}_accounts": round(events / median(wall_s)),
        f"events_per_cpu_second_{accounts}_accounts": round(events / median(cpu_s)),
    }


async def _replay_s(opening: list[bytes], log: Log) -> tuple[float, float]:
    """(seconds by the wall, of CPU) for what follows the opening; beside others at work, the second says more."""
    async with bennu_log.open("memory:") as before:
        await before.create(TOPIC)
        await write(before, iter(opening))
        state = blank_state()
        position = await catch_up(before, state, Position(TOPIC))
    gc.collect()
    GROWTH.move()  # as a CServer does that has caught up
    began_s, cpu_s = time.perf_counter(), time.process_time()
    await catch_up(log, state, position)
    return time.perf_counter() - began_s, time.process_time() - cpu_s
