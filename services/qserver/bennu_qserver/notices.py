"""`NOTIFY` for those who show tables: one a table that people read and a transaction, heard when that is committed.

    LISTEN bank_accounts;        -- payload: {"partition": 0, "batch_no": 17}

Postgres commits those that notify one after another, in the whole server: see docs/benchmarks.md for what it costs.
"""

import json
from collections.abc import Sequence

from bennu_qserver.database import Connection
from bennu_qserver.positions import Place
from bennu_qserver.rows import Write

CHANNEL_CHARACTERS = 63
"""Of the longest name that Postgres takes; a longer one is cut."""

# What is written into a generation that nobody reads is no change.
_TELL = """
SELECT pg_notify(channel, $5) FROM unnest($4::text[]) AS channel WHERE EXISTS (
    SELECT FROM bennu.generations WHERE app = $1 AND projection = $2 AND generation = $3 AND state = 'live'
)
"""


def channel_of(app: str, table: str) -> str:
    """Where changes of a table are told."""
    return f"{app}_{table}"[:CHANNEL_CHARACTERS]


async def tell_switched(connection: Connection, app: str, tables: Sequence[str], *, generation: int) -> None:
    """Notify of tables that are shown as another generation has them."""
    for table in dict.fromkeys(tables):
        payload = json.dumps({"generation": generation})
        await connection.execute("SELECT pg_notify($1, $2)", channel_of(app, table), payload)


async def tell(connection: Connection, place: Place, writes: Sequence[Write], *, batch_no: int) -> None:
    """Notify of the tables that were written, up to this batch."""
    if writes:
        tables = dict.fromkeys(write.table for write in writes)
        channels = [channel_of(place.app, table) for table in tables]
        payload = json.dumps({"partition": place.partition, "batch_no": batch_no})
        await connection.execute(_TELL, place.app, place.projection, place.generation, channels, payload)
