"""Writes rows, and first makes what they are to stand in."""

from datetime import UTC, datetime, timedelta

from asyncpg import exceptions as pg

from bennu.domain import TIMESTAMP
from bennu.domain.projection import Value
from bennu.ops.postgres import AWAY, MISTAKEN
from bennu_qserver import pieces
from bennu_qserver.database import CONTENT_REFUSED, Connection, refusal
from bennu_qserver.errors import EventFault
from bennu_qserver.plain_calls import Owned
from bennu_qserver.rows import Write
from bennu_qserver.tables import CATALOG_NAMES
from bennu_qserver.values import EARLIEST_US, LATEST_US

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def execute(connection: Connection, write: Write) -> None:
    """Write rows.  Raises `EventFault`, naming table, topic and events, when Postgres refuses their content."""
    if write.needs is not None:
        await pieces.make(connection, *write.needs)
    try:
        if write.owned is None:
            await connection.execute(write.sql, *write.arrays)
        else:
            await _call(connection, write, write.owned)
    except CONTENT_REFUSED as error:
        raise EventFault(f"{write.where}: {refusal(error)}") from error


async def _call(connection: Connection, write: Write, owned: Owned) -> None:
    prepared = await connection.prepare(write.sql)
    values = [_bound(kind.name, value) for kind, value in zip(prepared.get_parameters(), write.arrays, strict=True)]
    try:
        rows = await prepared.fetch(*values)
    except pg.PostgresError as error:
        if isinstance(error, (*AWAY, *MISTAKEN)):
            raise
        raise EventFault(f"{write.where}: {refusal(error)}") from error  # the text is good, so it is the values
    if fault := owned.fault([row["owner"] for row in rows]):
        raise EventFault(f"{write.where}: {fault}")


def _bound(kind: str, value: Value) -> Value | datetime:
    """A time is in microseconds, as everywhere in rules."""
    if kind not in (TIMESTAMP, CATALOG_NAMES[TIMESTAMP]) or not isinstance(value, int):
        return value
    if not EARLIEST_US <= value <= LATEST_US:
        raise pg.DataError(f"{value} is no time in microseconds")
    return EPOCH + timedelta(microseconds=value)
