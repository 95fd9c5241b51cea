"""How far each projection is behind, as people and programs see it: `bennu.freshness`, and details of `/readyz`."""

import asyncio
from collections.abc import Mapping
from typing import NoReturn

from bennu_qserver.database import Connection, Database
from bennu_qserver.lag import Lag
from bennu_qserver.limits import LAG_SAMPLE_S
from bennu_qserver.positions import Place
from bennu_qserver.status import Board

_WRITE = """
INSERT INTO bennu.freshness AS f (app, projection, generation, partition, node, lag_batches, lag_events, lag_ms)
SELECT s.app, s.projection, s.generation, s.partition, $5, s.lag_batches, s.lag_events, s.lag_ms
FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $6::bigint[], $7::bigint[], $8::bigint[])
    AS s (app, projection, generation, partition, lag_batches, lag_events, lag_ms)
-- A generation that was dropped in this second has no position any more.
JOIN bennu.positions USING (app, projection, generation, partition)
ORDER BY s.app, s.projection, s.generation, s.partition
ON CONFLICT (app, projection, generation, partition) DO UPDATE
SET node = excluded.node, lag_batches = excluded.lag_batches, lag_events = excluded.lag_events,
    lag_ms = excluded.lag_ms, sampled_at = now()
"""


class Freshness:
    """What this process says of the projections whose positions it moves: others may stand by for it."""

    def __init__(self, node: str, board: Board) -> None:
        self._node = node
        self._board = board
        self._lags: Mapping[Place, Lag] = {}

    def sampled(self, lags: Mapping[Place, Lag]) -> None:
        """How far they are behind now."""
        self._lags = lags
        self._board.show(self._lags)

    async def write_always(self, database: Database) -> NoReturn:
        """Write it once a second.  A task of its own, since it waits for a Postgres that is away."""
        while True:
            await asyncio.sleep(LAG_SAMPLE_S)
            if self._lags:
                await database.run(self._write)

    async def _write(self, connection: Connection) -> None:
        if self._lags:
            places, lags = zip(*self._lags.items(), strict=True)
            await connection.execute(_WRITE, *zip(*places, strict=True), self._node, *zip(*lags, strict=True))
