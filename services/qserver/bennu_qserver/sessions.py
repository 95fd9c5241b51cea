"""Connections to Postgres that are used again: as many as are needed at once, up to a bound.

Not asyncpg's pool: that one takes leave of a connection that it gives up, and waits for an answer, which a server that
is gone never gives.  Here whoever hears that a server can't be used any more cuts all connections to it.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from asyncpg import exceptions as pg

from bennu.ops.postgres import LEFT, Connection, NoServer, cancellation_first


class Sessions:
    """Lends each connection to one user at a time."""

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], *, most: int, family: "list[Sessions] | None" = None
    ) -> None:
        """`family`: those that were made by `beside`; nobody else gives it."""
        self._open = connect
        self._family = [] if family is None else family
        self._family.append(self)
        self._most = most
        self._turns = asyncio.Semaphore(most)
        self._idle: list[Connection] = []
        self._lent: set[Connection] = set()

    def beside(self, *, most: int) -> "Sessions":
        """Others, to the same database, of which these take none; `terminate` cuts them, too."""
        return Sessions(self._open, most=most, family=self._family)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        """One that is open, and used by nobody else inside the block.  Raises what connecting raises.

        An error that speaks of the server is taken to be true of the idle ones, too: they are closed.
        """
        async with self._turns:
            connection = self._take() or await self._connect()
            self._lent.add(connection)
            try:
                with cancellation_first():
                    yield connection
            except asyncio.CancelledError:
                connection.terminate()  # an answer to nobody may be on its way
                raise
            except LEFT:
                self._close(connection, *self._idle)
                raise
            finally:
                self._give_back(connection)

    def terminate(self) -> None:
        """Cut all of the family, at once: what is under way is rolled back."""
        for each in self._family:
            each._close(*each._idle, *each._lent)

    async def _connect(self) -> Connection:
        try:
            return await self._open()
        except (pg.TooManyConnectionsError, NoServer):
            for each in self._family:  # else those who are idle would keep out those who have none
                if each._most > 1 or each is self:  # a single one is always needed again at once
                    each._close(*each._idle)
            raise

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
