"""More accounts: what each takes of memory, and what of a replica's and a leader's work grows with them."""

import gc
import time
from collections.abc import Sequence
from itertools import chain

from benchmarks.curves.servers import Row, Site, at_rate, client, cservers, resident_bytes
from benchmarks.journals import BEGAN_US, TOPIC, Leader, blank_state, name, write
from bennu import log as bennu_log
from bennu.log.port import Log
from bennu.replica.journal import Position
from bennu.snapshots.format import Draft
from bennu.snapshots.once import catch_up
from bennu.snapshots.restore import restore
from bennu.snapshots.store import SnapshotStore
from bennu.stack.postgres import Postgres

WINDOW = 10_000
"""Replies kept, so that what grows is accounts alone."""
LATER = 100_000
"""Events after the snapshot, at most; as many as accounts where those are fewer."""
PER_SECOND = 1_000
NAMES = 20_000
"""Accounts among all that the leader's callers use."""


async def curve(site: Site, sizes: Sequence[int], seconds: float) -> list[Row]:
    """A row for each number of accounts."""
    rows: list[Row] = []
    for accounts in sorted(sizes):
        row = await _row(site, accounts, seconds)
        if rows:  # against the fewest: what any process takes is no account's
            first, more_mb = rows[0], row["leader_mb"] - rows[0]["leader_mb"]
            row["bytes_an_account"] = round(more_mb * 1e6 / (accounts - first["accounts"]))
        rows.append(row)
    return rows


async def _row(site: Site, accounts: int, seconds: float) -> Row:
    found: Row = {"accounts": accounts}
    with site.at() as ground:
        with Postgres(ground.folder / "postgres") as postgres:
            async with bennu_log.open(ground.url) as log:
                await log.create(TOPIC)
                found |= await _restart(log, SnapshotStore(postgres.dsn, name="bench"), accounts)
        began_s = time.perf_counter()
        with cservers(ground, flags=["--window-count", str(WINDOW)]) as (leader,):
            found["serving_in_s"] = round(time.perf_counter() - began_s, 2)
            found["leader_mb"] = round(resident_bytes(leader) / 1e6, 1)
            async with client(leader) as to:
                some = [name(number) for number in range(0, accounts, max(1, accounts // NAMES))]
                found |= await at_rate(to, (PER_SECOND, seconds), some)
    return found


async def _restart(log: Log, store: SnapshotStore, accounts: int) -> Row:
    """Seconds to read the journal that opened them, to take a snapshot, to be back from it, and events read after."""
    leader, later = Leader(window_count=WINDOW), min(LATER, accounts)
    await write(log, chain([leader.begin()], leader.opening(accounts)))
    state = blank_state()
    began_s = time.perf_counter()
    position = await catch_up(log, state, Position(TOPIC))
    replayed_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    await store.write(Draft(state, position, created_at_us=BEGAN_US))
    taken_s = time.perf_counter() - began_s
    del state
    await write(log, leader.depositing(later, accounts=accounts))
    ended, leader.fold = leader.position, blank_state().fold  # type: ignore[assignment]  # lets go of the accounts
    gc.collect()
    began_s = time.perf_counter()
    restored = await restore(store, log, TOPIC, new_state=blank_state)
    assert restored is not None
    restored_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    assert await catch_up(log, *restored) == ended, "all of it was read"
    return {
        "opened_per_second": round(accounts / replayed_s),
        "deposits_replayed_per_second": round(later / (time.perf_counter() - began_s)),
        "snapshot_taken_in_s": round(taken_s, 2),
        "restored_in_s": round(restored_s, 2),
    }
