"""Which broker has a topic, as the proxy tells it, remembered."""

import asyncio
from typing import Any

import grpc

from bennu.cancellation import is_cancelled
from bennu.errors import BadSettings, TopicMissing, Unavailable
from bennu.log.rocketmq.admin import Admin
from bennu.log.rocketmq.session import Session
from bennu.log.rocketmq.stubs import definition, service

_ROUTE_TIMEOUT_S = 3.0


class Routes:
    """Broker names by topic.  A name stays as long as nobody says `forget`."""

    def __init__(self, session: Session, admin: Admin) -> None:
        self._session = session
        self._admin = admin
        self._brokers: dict[str, str] = {}
        self._seen: dict[str, str] = {}

    def knows(self, topic: str) -> bool:
        return topic in self._brokers

    def forget(self, topic: str) -> None:
        """Ask again next time."""
        self._brokers.pop(topic, None)

    async def broker_of(self, topic: str) -> str:
        """The broker's name.  Raises `TopicMissing`, `Unavailable`, and `BadSettings` for a topic that is no log."""
        if (known := self._brokers.get(topic)) is not None:
            return known
        queues = await self._ask(topic)
        if queues is None:
            if await self.is_gone(topic):
                raise TopicMissing(f"{topic}: no such topic")
            raise Unavailable(f"{topic}: no broker that has it is known to the proxy now")
        if len(queues) != 1 or queues[0].id != 0:
            raise BadSettings(f"{topic}: has {len(queues)} queues, a log has one, with number 0")
        name = self._brokers[topic] = self._seen[topic] = str(queues[0].broker.name)
        return name

    async def is_gone(self, topic: str) -> bool:
        """Whether the topic certainly does not exist (any more).  Raises `Unavailable`."""
        self.forget(topic)
        return await self._admin.is_gone(topic, seen_at=self._seen.get(topic))

    async def is_told(self, topic: str) -> bool:
        """Whether the proxy knows the topic by now.  Raises `Unavailable`."""
        return await self._ask(topic) is not None

    async def _ask(self, topic: str) -> list[Any] | None:  # Any: generated code that comes without types
        self._session.check_open()
        request = service.QueryRouteRequest(endpoints=self._session.endpoints())
        request.topic.name = topic
        try:
            answer = await self._session.call("QueryRoute", request, timeout_s=_ROUTE_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            raise Unavailable(f"{topic}: no route: {error.code().name}: {error.details()}") from None
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise Unavailable(f"{topic}: no route: the channel was closed") from None
        if answer.status.code == definition.TOPIC_NOT_FOUND:
            return None
        if answer.status.code in (definition.UNAUTHORIZED, definition.FORBIDDEN):
            raise BadSettings(f"{topic}: {answer.status.message}")
        if answer.status.code != definition.OK or not answer.message_queues:
            raise Unavailable(f"{topic}: no route: {answer.status.code}: {answer.status.message}")
        return list(answer.message_queues)
