"""Writes rows, and first makes what they are to stand in."""

from bennu_qserver import pieces
from bennu_qserver.database import CONTENT_REFUSED, Connection, refusal
from bennu_qserver.errors import EventFault
from bennu_qserver.rows import Write


async def execute(connection: Connection, write: Write) -> None:
    """Write rows.  Raises `EventFault`, naming table, topic and events, when Postgres refuses their content."""
    if write.needs is not None:
        await pieces.make(connection, *write.needs)
    try:
        await connection.execute(write.sql, *write.arrays)
    except CONTENT_REFUSED as error:
        raise EventFault(f"{write.where}: {refusal(error)}") from error
