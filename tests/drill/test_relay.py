"""The drill's relay: everything passes, or nothing does, and what was held back passes later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bennu.drill.relay import Relay

TIMEOUT_S = 10


@asynccontextmanager
async def echoed() -> AsyncIterator[Relay]:
    """A relay before a server that sends each line back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server, asyncio.timeout(TIMEOUT_S):
        host, port = server.sockets[0].getsockname()[:2]
        async with Relay(f"{host}:{port}") as relay:
            yield relay


async def connect(relay: Relay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = relay.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


def test_what_is_held_back_passes_when_the_link_heals() -> None:
    """A silent cut keeps connections and bytes, as a network does that repeats what was not acknowledged."""

    async def scenario() -> bytes:
        async with echoed() as relay:
            reader, writer = await connect(relay)
            writer.write(b"before\n")
            assert await reader.readline() == b"before\n"
            relay.cut(silent=True)
            writer.write(b"held\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readline(), 0.1)
            relay.heal()
            line = await reader.readline()
            writer.close()
            return line

    assert asyncio.run(scenario()) == b"held\n"


def test_a_reset_ends_connections_and_refuses_new_ones_until_it_heals() -> None:
    """Nobody waits for a peer that is known to be away."""

    async def scenario() -> bytes:
        async with echoed() as relay:
            reader, writer = await connect(relay)
            writer.write(b"before\n")
            await reader.readline()
            relay.cut(silent=False)
            for ended, its in ((reader, writer), await connect(relay)):
                with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                    await ended.readexactly(1)
                its.close()
            relay.heal()
            reader, writer = await connect(relay)
            writer.write(b"after\n")
            line = await reader.readline()
            writer.close()
            return line

    assert asyncio.run(scenario()) == b"after\n"
