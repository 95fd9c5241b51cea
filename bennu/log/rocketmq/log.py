"""The log on RocketMQ 5: appends by gRPC at the proxy, reads by remoting, topics by remoting at a broker."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from bennu.errors import AppendRefused, Unavailable
from bennu.log.limits import BOUNDS_TIMEOUT_MS, check_append, check_topic
from bennu.log.patience import Patience
from bennu.log.port import Record
from bennu.log.rocketmq.admin import Admin
from bennu.log.rocketmq.append import Appender
from bennu.log.rocketmq.pull import Puller
from bennu.log.rocketmq.remoting import RemotingClient
from bennu.log.rocketmq.routes import Routes
from bennu.log.rocketmq.session import Session
from bennu.log.rocketmq.settings import RocketmqSettings

T = TypeVar("T")

_CREATE_TIMEOUT_MS = 30_000
"""Longer than a proxy remembers that a topic was not there."""


class RocketmqLog:
    """See `bennu.log.port.Log` for what it promises."""

    def __init__(self, settings: RocketmqSettings) -> None:
        self._session = Session(settings.proxy, settings.credentials)
        self._admin = Admin(settings)
        self._routes = Routes(self._session, self._admin)
        self._appender = Appender(self._session, self._routes)
        connect = partial(RemotingClient, settings.reads_at, settings.credentials)
        self._puller = Puller(connect, routes=self._routes, admin=self._admin)
        self._closed = asyncio.Event()

    async def close(self) -> None:
        """End the readers and refuse appends; the outcome of one under way is unknown."""
        self._closed.set()
        self._puller.close()
        self._admin.close()
        await self._session.close()

    async def create(self, topic: str) -> None:
        check_topic(topic)

        async def made() -> None:
            await self._admin.create(topic)
            if not await self._routes.is_told(topic):
                raise Unavailable(f"{topic}: made, but the proxy does not know it yet")

        await self._until_done(topic, made, timeout_ms=_CREATE_TIMEOUT_MS)

    async def bounds(self, topic: str) -> tuple[int, int]:
        check_topic(topic)
        return await self._until_done(topic, lambda: self._puller.bounds(topic), timeout_ms=BOUNDS_TIMEOUT_MS)

    async def _until_done(self, topic: str, attempt: Callable[[], Awaitable[T]], *, timeout_ms: int) -> T:
        patience = Patience(topic, self._closed)
        problem = Unavailable(f"{topic}: this log is closed")
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while not self._closed.is_set():
                    try:
                        return await attempt()
                    except Unavailable as error:
                        problem = error
                    await patience.wait(problem)
        except TimeoutError:
            raise Unavailable(f"{topic}: nothing for {timeout_ms} ms; at last: {problem}") from None
        raise problem

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        check_append(topic, record)
        if self._closed.is_set():
            raise AppendRefused(f"{topic}: this log is closed", final=False)
        return await self._appender.append(topic, record, timeout_ms=timeout_ms)

    def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        check_topic(topic)
        return self._puller.read(topic, offset)
