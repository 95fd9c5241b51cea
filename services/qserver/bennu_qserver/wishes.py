"""What operators wish for a generation, each carried out in one transaction: switch to it, cancel it, drop it.

Locks are asked for with a limit below `deadlock_timeout`, so that it is always the wish that gives way, never a reader
or a loop; whoever calls tries again.  Order of locks: generations, positions, views and tables.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

from asyncpg import exceptions as pg

from bennu.ops.generations import BUILDING, CANCEL, CANCELLED, DROP, DROPPED, KEPT, LIVE, PREVIOUS, REPLACE, SWITCH
from bennu_qserver import notices, readers, views
from bennu_qserver.database import Connection, limit_locks
from bennu_qserver.dispatch import CompiledProjection
from bennu_qserver.errors import NotYet, ProjectionFailed
from bennu_qserver.generations import Key
from bennu_qserver.limits import LEVEL_POLL_S, LEVEL_S
from bennu_qserver.tables import quoted

_ROWS = """
SELECT generation, state, tables, wish FROM bennu.generations
WHERE app = $1 AND projection = $2 AND state = ANY($3) ORDER BY generation FOR UPDATE
"""
_KEY = "app = $1 AND projection = $2 AND generation = $3"
_POSITIONS = f"SELECT partition, partitions, log_offset FROM bennu.positions WHERE {_KEY} ORDER BY partition"  # noqa: S608 - constants
_PARKED_KEYS = "SELECT partition, aggregate, key FROM bennu.dead_letters WHERE state = 'parked'"
_PARKED_MORE = f"""
SELECT count(*) FROM (
    {_PARKED_KEYS} AND {_KEY}
    EXCEPT {_PARKED_KEYS} AND app = $1 AND projection = $2 AND generation = $4
) AS more
"""  # noqa: S608
_LIVE = f"SELECT generation FROM bennu.generations WHERE app = $1 AND projection = $2 AND state = '{LIVE}'"  # noqa: S608
_BECOME = f"""
UPDATE bennu.generations SET state = $4, wish = NULL, problem = NULL, changed_at = now() WHERE {_KEY}
"""  # noqa: S608
_FORGETS = (
    f"DELETE FROM bennu.positions WHERE {_KEY}",  # noqa: S608
    f"DELETE FROM bennu.freshness WHERE {_KEY}",  # noqa: S608
    f"DELETE FROM bennu.dead_letters WHERE state = 'parked' AND {_KEY}",  # noqa: S608
)
_UNWISH = f"UPDATE bennu.generations SET wish = NULL, problem = $4 WHERE {_KEY} AND wish = $5"  # noqa: S608


class Row(NamedTuple):
    """A generation, locked."""

    number: int
    state: str
    tables: tuple[str, ...]
    wish: str | None


async def switch(connection: Connection, target: CompiledProjection) -> bool:
    """Show this generation; False: it is wished no more.  Raises `NotYet`, `ProjectionFailed` where views forbid it."""
    key = Key(target.app, target.name, target.generation)
    try:
        live_key = await _close(connection, key)
        rows = await _locked(connection, key)
        live = next((row for row in rows.values() if row.state == LIVE), None)
        mine = rows.get(key.number)
        if live is None or live.number != live_key.number:
            return False
        if mine is None or mine is live or mine.wish not in (SWITCH, REPLACE):
            return False
        await _level(connection, key, live_key)
        await connection.fetch(f"{_POSITIONS} FOR UPDATE", *key)  # what it writes after this is written as live
        await _check_parked(connection, key, live_key)
        declared = {table.declared.name for table in target.tables}
        gone = [views.view_of(key.app, name) for name in live.tables if name not in declared]
        await views.show(connection, views.Change(key.projection, target.tables, gone, replace=mine.wish == REPLACE))
        await connection.execute(_BECOME, *live_key, PREVIOUS)
        await connection.execute(_BECOME, *key, LIVE)
        if declared - set(live.tables):  # views that were not there before
            await readers.grant(connection, app=key.app)
        await notices.tell_switched(connection, key.app, [*declared, *live.tables], generation=key.number)
        return True
    except (pg.LockNotAvailableError, pg.DeadlockDetectedError) as error:
        raise NotYet("switch: waits for readers whose transactions hold the views; it tries again") from error


async def _close(connection: Connection, key: Key) -> Key:
    """Return the live one once `key` has come to where that was a moment ago: the rest takes no longer."""
    live = Key(key.app, key.projection, await connection.fetchval(_LIVE, key.app, key.projection) or 0)
    await _reached(connection, key, await _offsets(connection, live))
    return live


async def _check_parked(connection: Connection, key: Key, live: Key) -> None:
    """Raises `ProjectionFailed` where less could be projected than is shown now."""
    more = await connection.fetchval(_PARKED_MORE, *key, live.number)
    if more:
        letters = f"bennu deadletters list {key.app}/{key.projection}/{key.number}"
        raise ProjectionFailed(
            f"events of {more} aggregates are parked in generation {key.number} and not in the live one: `{letters}`; "
            "retry or discard them, then switch"
        )


async def _level(connection: Connection, key: Key, live: Key) -> None:
    """Hold the live positions where they are until those of `key` are as far."""
    held = await connection.fetch(f"{_POSITIONS} FOR UPDATE", *live)
    await _reached(connection, key, {row["partition"]: row["log_offset"] for row in held})


async def _reached(connection: Connection, key: Key, wanted: Mapping[int, int]) -> None:
    until_s = time.monotonic() + LEVEL_S
    while not await _is_there(connection, key, wanted):
        if time.monotonic() > until_s:
            raise NotYet(f"switch: waits until generation {key.number} is level with the live one")
        await asyncio.sleep(LEVEL_POLL_S)


async def _is_there(connection: Connection, key: Key, wanted: Mapping[int, int]) -> bool:
    rows = await connection.fetch(_POSITIONS, *key)
    found = {row["partition"]: row["log_offset"] for row in rows}
    begun = bool(rows) and len(rows) == rows[0]["partitions"]
    return begun and all(found.get(number, -1) >= offset for number, offset in wanted.items())


async def _offsets(connection: Connection, key: Key) -> Mapping[int, int]:
    return {row["partition"]: row["log_offset"] for row in await connection.fetch(_POSITIONS, *key)}


async def discard(connection: Connection, key: Key) -> bool:
    """Drop tables and positions; False: it is wished no more.  Raises `NotYet`, and what Postgres refuses."""
    try:
        row = (await _locked(connection, key)).get(key.number)
        if row is None or row.wish not in (CANCEL, DROP) or row.state not in (BUILDING, PREVIOUS):
            return False
        await connection.fetch(f"{_POSITIONS} FOR UPDATE", *key)  # a loop's transaction ends before its tables do
        for table in row.tables:
            await connection.execute(f"DROP TABLE IF EXISTS {quoted(key.app)}.{quoted(f'{table}_g{key.number}')}")
        for forget in _FORGETS:
            await connection.execute(forget, *key)
        await connection.execute(_BECOME, *key, CANCELLED if row.wish == CANCEL else DROPPED)
        return True
    except (pg.LockNotAvailableError, pg.DeadlockDetectedError) as error:
        raise NotYet("drop: waits for transactions that hold its tables; it tries again") from error


async def _locked(connection: Connection, key: Key) -> Mapping[int, Row]:
    await limit_locks(connection)
    rows = await connection.fetch(_ROWS, key.app, key.projection, list(KEPT))
    return {row[0]: Row(row[0], row[1], tuple(row[2]), row[3]) for row in rows}


async def refuse(connection: Connection, key: Key, *, wish: str, problem: str) -> None:
    """It can't be carried out: say why, and wish it no more."""
    await connection.execute(_UNWISH, *key, problem, wish)
