"""Running a test's coroutine, and reading a log for it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from bennu.errors import AppendUnknown
from bennu.log.port import Log, Record

TIMEOUT_S = 60.0


def run(body: Coroutine[Any, Any, None], *, timeout_s: float = TIMEOUT_S) -> None:
    """Run one test's coroutine, never longer than `timeout_s`."""

    async def limited() -> None:
        async with asyncio.timeout(timeout_s):
            await body

    asyncio.run(limited())


async def take(log: Log, topic: str, *, start: int, count: int) -> list[Record]:
    """`count` records from `start` on; asserts that they are contiguous and that no chunk is empty."""
    records: list[Record] = []
    async with aclosing(log.read(topic, start)) as chunks:
        async for chunk in chunks:
            assert chunk
            records.extend(chunk)
            if len(records) >= count:
                break
    assert [record.offset for record in records] == list(range(start, start + len(records)))
    return records[:count]


async def bodies(log: Log, topic: str) -> list[bytes]:
    """All that the topic holds now."""
    first, end = await log.bounds(topic)
    return [record.body for record in await take(log, topic, start=first, count=end - first)] if end > first else []


async def fails(expected: type[Exception], log: Log, *, topic: str, offset: int) -> Exception:
    """Read from `offset` on until it raises, which must be `expected`."""
    with pytest.raises(expected) as raised:
        await drain(log.read(topic, offset))
    return raised.value


async def drain(chunks: AsyncIterator[Sequence[Record]]) -> list[Record]:
    return [record async for chunk in chunks for record in chunk]


async def expect_unknown(append: Callable[[], Awaitable[int]]) -> None:
    """The append must end in `AppendUnknown`."""
    with pytest.raises(AppendUnknown):
        await append()
