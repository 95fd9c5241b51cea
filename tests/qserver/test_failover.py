"""Postgres fails over to its standby, in the ways in which it does: QServer finds the server that takes writes."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from bennu.cli.projections_desk import Desk, at_desk
from bennu.errors import Unavailable
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu_qserver import database as databases
from tests.qserver.loops import looping
from tests.qserver.managed import ASKED
from tests.qserver.pair import Pair, pair
from tests.qserver.serving import World, bank_world, connected, frozen, is_ready, qserver, started, unmet, until
from tests.service_process import Service

pytestmark = pytest.mark.real

T = TypeVar("T")

OFFSET = "SELECT log_offset FROM bennu.positions WHERE projection = 'ledger'"


async def moved(world: World, both: Pair) -> None:
    """The history goes on, and the new primary shows all of it."""
    world.dsn = both.standby.dsn
    await world.write(20)
    await world.shown()


async def killed(directory: Path) -> None:
    """The primary is killed, the standby has all; then the old one comes back as a standby, the first in the URL."""
    async with pair() as both, bank_world(directory, both.primary.dsn, seed=81) as world:
        service, late = (qserver(directory, both.dsn, name=f"qserver-{number}") for number in (1, 2))
        async with started(service):
            await world.write(30)
            await world.shown()
            await both.level()
            await asyncio.to_thread(both.primary.server.kill)
            await world.write(10)
            await both.standby.promote()
            await moved(world, both)
            await until(partial(is_ready, service))
            await both.come_back_as_standby()
            await at_desk_of(both, lambda desk: desk.pause("ledger", ASKED))
            assert await at_desk_of(both, lambda desk: desk.resume("ledger"))
            await both.standby.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'bennu qserver%'"
            )
            await moved(world, both)
            await asyncio.to_thread(service.kill)
            async with started(late):
                await moved(world, both)
                await until(partial(is_ready, late))


def test_the_standby_takes_over(tmp_path: Path) -> None:
    """Nothing is lost; and a server that only reads is passed over, by a QServer that starts then and by operators."""
    asyncio.run(killed(tmp_path))


async def fallen_behind(directory: Path) -> None:
    """The standby has not heard of the last transactions when the primary is killed for good."""
    async with pair() as both, bank_world(directory, both.primary.dsn, seed=82) as world:
        service = qserver(directory, both.dsn)
        async with started(service):
            await world.write(30)
            await world.shown()
            await both.level()
            await asyncio.to_thread(both.standby.server.kill)
            await world.write(30)
            await world.shown()
            async with connected(both.primary.dsn) as connection:
                before = await connection.fetchval(OFFSET)
            await asyncio.to_thread(both.primary.server.kill)
            await asyncio.to_thread(both.standby.server.start)
            await both.standby.promote()
            async with connected(both.standby.dsn) as connection:
                assert await connection.fetchval(OFFSET) < before
            await moved(world, both)
            await until(partial(is_ready, service))


def test_what_an_asynchronous_standby_lacks_is_projected_again(tmp_path: Path) -> None:
    """Position and rows went back together, so the loop stands by for a moment, and goes on from there."""
    asyncio.run(fallen_behind(tmp_path))


async def demoted(directory: Path) -> None:
    """The primary stays up with all its sessions, and takes no more writes; no process of ours is told."""
    async with pair() as both, bank_world(directory, both.primary.dsn, seed=83, partitions=3) as world:
        service = qserver(directory, both.dsn, partitions=3)
        async with started(service):
            await world.write(20)
            await world.shown()
            await both.primary.demote_in_place()
            await world.write(5)
            await until(partial(waits, service, "it takes no writes: a standby, or default_transaction_read_only"))
            assert [row.projection for row in await at_desk_of(both, lambda desk: desk.rows("ledger"))] == ["ledger"]
            with pytest.raises(Unavailable, match="cannot execute INSERT in a read-only transaction"):
                await at_desk_of(both, lambda desk: desk.pause("ledger", ASKED))
            await both.standby.promote()
            await moved(world, both)
            await until(partial(is_ready, service))


async def at_desk_of(both: Pair, work: Callable[[Desk], Awaitable[T]]) -> T:
    """As the command line does it."""
    return await asyncio.to_thread(at_desk, both.dsn, "bank", work)


async def waits(service: Service, words: str) -> bool:
    """Whether `/readyz` says so of Postgres."""
    return words in (await unmet(service)).get("postgres", "")


def test_sessions_with_a_server_that_is_read_only_now_are_left(tmp_path: Path) -> None:
    """Else each would be tried for ever.  Until one takes writes, QServer says why it waits, and operators may look."""
    asyncio.run(demoted(tmp_path))


async def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The primary stands still with all its sessions, as a machine that was cut off does: it does not even refuse."""
    monkeypatch.setattr(databases, "ANSWER_TIMEOUT_S", 3.0)
    async with pair() as both:
        world = World(MemoryLog(MemoryBroker()), both.primary.dsn, seed=84, partitions=3)
        await world.create()
        async with looping(world.log, both.dsn, partitions=3):
            await world.write(20)
            await world.shown()
            await both.level()
            with frozen(*await both.primary.pids()):
                await world.write(20)
                await both.standby.promote()
                await moved(world, both)


def test_a_server_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its sessions nor its port, which takes connections and says nothing, keep QServer from the other host."""
    asyncio.run(silent(monkeypatch))
