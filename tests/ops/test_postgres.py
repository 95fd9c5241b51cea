"""What Postgres says, told apart from what a task is told."""

import asyncio

import pytest
from asyncpg import exceptions as pg

from bennu.ops.postgres import cancellation_first


async def work(begun: asyncio.Event) -> None:
    """A transaction that can't be rolled back when it ends."""
    begun.set()
    with cancellation_first():
        try:
            await asyncio.Event().wait()
        finally:
            raise pg.InterfaceError("cannot rollback")


def test_who_is_cancelled_hears_that_and_not_what_rolling_back_said() -> None:
    """The error is kept as its cause."""

    async def body() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(work(begun))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert isinstance(caught.value.__cause__, pg.InterfaceError)

    asyncio.run(body())


def test_who_is_not_cancelled_hears_what_postgres_said() -> None:
    """Also who gave it a time that is over by now."""

    async def body() -> None:
        with pytest.raises(pg.InterfaceError), cancellation_first():
            raise pg.InterfaceError("closed")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await work(asyncio.Event())

    asyncio.run(body())
