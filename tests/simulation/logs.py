"""One process's way to the broker: slow, sometimes cut, and gone for good when the process dies."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from contextvars import Context
from random import Random
from typing import NoReturn

from bennu.errors import AppendRefused, AppendUnknown, Unavailable
from bennu.log.memory import NO_FAULTS, MemoryBroker, MemoryLog
from bennu.log.port import Record


async def _for_ever() -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets this event")


class ProcessLog:
    """A `Log`.  An append travels on its own: it lands although its sender is paused, cancelled or dead."""

    def __init__(self, broker: MemoryBroker, random: Random) -> None:
        self._broker = broker
        self._log = MemoryLog(broker)
        self._random = random
        self._sent: set[asyncio.Task[None]] = set()
        self.dead = False
        self.cut_until_s = 0.0
        """Until then nothing comes from the broker ..."""
        self.deaf = False
        """... but what is sent arrives there."""
        self.away_until_s: dict[str, float] = {}
        """Until when a topic is away; of all processes, where they share this."""

    async def create(self, topic: str) -> None:
        await self._log.create(topic)

    def _away_s(self, topic: str) -> float:
        until_s = max(self.cut_until_s, self.away_until_s.get(topic, 0.0))
        return until_s - asyncio.get_running_loop().time()

    async def _chance_to_wait(self) -> None:
        if self.dead:
            await _for_ever()
        if self._broker.faults is not NO_FAULTS and self._random.random() < 0.3:
            await asyncio.sleep(self._random.random() * 0.02)

    async def _chance_to_lag(self) -> None:
        """A reader is now and then behind what others have heard of."""
        await self._chance_to_wait()
        if self._broker.faults is not NO_FAULTS and self._random.random() < 0.1:
            await asyncio.sleep(self._random.random() * 0.5)

    async def bounds(self, topic: str) -> tuple[int, int]:
        """The end as it was before the answer travelled, or no answer."""
        await self._chance_to_wait()
        if self._broker.faults is not NO_FAULTS and self._random.random() < 0.05:
            raise Unavailable(f"{topic}: the broker does not answer")
        found = await self._log.bounds(topic)
        await self._chance_to_wait()
        if self._away_s(topic) > 0:
            await asyncio.sleep(self._random.random() * 0.1)
            raise Unavailable(f"{topic}: away")
        return found

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        await self._chance_to_wait()
        if self._away_s(topic) > 0 and not self.deaf:
            await self._unheard(topic, timeout_ms)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        sent = asyncio.get_running_loop().create_task(
            self._send(topic, record, answer, timeout_ms=timeout_ms), context=Context()
        )
        self._sent.add(sent)
        sent.add_done_callback(self._sent.discard, context=Context())
        return await answer

    async def _unheard(self, topic: str, timeout_ms: int) -> NoReturn:
        """A connection that is refused, broken, or gives no answer."""
        if self._random.random() < 0.3:
            raise AppendRefused(f"{topic}: away", final=False)
        await asyncio.sleep(self._random.random() * timeout_ms / 1000)
        raise AppendUnknown(f"{topic}: no answer")

    async def _send(self, topic: str, record: bytes, answer: "asyncio.Future[int]", *, timeout_ms: int) -> None:
        try:
            offset = await self._log.append(topic, record, timeout_ms=timeout_ms)
            if self._away_s(topic) > 0:
                await self._unheard_after(topic, timeout_ms)
        except (AppendRefused, AppendUnknown) as error:
            if not answer.done():
                answer.set_exception(error)
        else:
            if not answer.done():
                answer.set_result(offset)

    async def _unheard_after(self, topic: str, timeout_ms: int) -> NoReturn:
        await asyncio.sleep(self._random.random() * timeout_ms / 1000)
        raise AppendUnknown(f"{topic}: the answer was lost")

    async def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        """Chunks of any size, late, and slow to close: as over a network."""
        try:
            async with aclosing(self._log.read(topic, offset)) as chunks:
                async for chunk in chunks:
                    rest = chunk
                    while rest:
                        await self._chance_to_lag()
                        while (away_s := self._away_s(topic)) > 0:  # noqa: ASYNC110 - virtual time
                            await asyncio.sleep(away_s)
                        size = self._random.randrange(1, len(rest) + 1)
                        yield rest[:size]
                        rest = rest[size:]
        finally:
            await asyncio.sleep(0.001)
