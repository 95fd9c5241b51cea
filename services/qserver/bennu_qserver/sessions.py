"""Connections to Postgres that are used again: as many as are needed at once, up to a bound.

Not asyncpg's pool: that one takes leave of a connection that it gives up, and waits for an answer, which a server that
is gone never gives.  Here whoever hears that a server can't be used any more cuts all connections to it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bennu.ops.postgres import LEFT, Connection


class Sessions:
    """Lends each connection to one user at a time."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], *, most: int) -> None:
        self._connect = connect
        self._turns = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """One that is open, and used by nobody else inside the block.  Raises what connecting raises.

        An error that speaks of the server is taken to be true of the idle ones, too: they are closed.
        """
        async with self._turns:
            connection = self._take() or await self._connect()
            self._lent.add(connection)
            try:
                yield connection
            except LEFT:
                self._close(connection, *self._idle)
                raise
            finally:
                self._give_back(connection)

    def terminate(self) -> None:
        """Cut all of them, at once: what is under way is rolled back."""
        self._close(*self._idle, *self._lent)

    def _take(self) -> "Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            connection.terminate()
        return None

    def _give_back(self, connection: Connection) -> None:
        self._lent.discard(connection)
        if connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
        else:
            self._idle.append(connection)

    def _close(self, *connections: Connection) -> None:
        for connection in connections:
            connection.terminate()
        self._idle = [connection for connection in self._idle if not connection.is_closed()]
