"""A relay between a client and a server on this machine: loses replies, and connections, when a test says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Relay:
    """Listens on a port of its own and passes everything on to `host`:`port`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._writers: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self.address = ""
        self.drops_replies = False
        """While set, what the server says is thrown away: a link that is dead in one direction."""

    @asynccontextmanager
    async def listen(self) -> AsyncIterator["Relay"]:
        """Relay while the block runs."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)

    def cut(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        mine = [writer]
        self._writers.add(writer)
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
            mine.append(to_server)
            self._writers.add(to_server)
            await asyncio.gather(
                self._pass(reader, to_server, is_reply=False), self._pass(from_server, writer, is_reply=True)
            )
        except (OSError, asyncio.CancelledError):
            pass  # a server that is away, or the end of the test: either way the client loses its connection
        finally:
            for each in mine:
                self._writers.discard(each)
                each.transport.abort()
            self._serving.discard(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_reply: bool) -> None:
        with suppress(OSError):
            while data := await source.read(1 << 16):
                if not (is_reply and self.drops_replies):
                    sink.write(data)
                    await sink.drain()
        sink.close()
