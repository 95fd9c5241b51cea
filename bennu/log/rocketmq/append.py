"""Append: one `SendMessage` per record, one in flight per topic, and what its outcome means.

Two requests in flight may change places, so a topic has a lock.  What the proxy says is sorted into "refused" (on a
short list of answers that are certain) and "unknown" (all others).
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from bennu.cancellation import is_cancelled
from bennu.errors import AppendRefused, AppendUnknown, BadSettings, TopicMissing, Unavailable
from bennu.log.rocketmq.routes import Routes
from bennu.log.rocketmq.session import Session
from bennu.log.rocketmq.stubs import definition, service

_MAX_WAITING_APPENDS = 1024

_FINAL_CODES = {
    definition.ILLEGAL_TOPIC,
    definition.ILLEGAL_MESSAGE_TAG,
    definition.ILLEGAL_MESSAGE_KEY,
    definition.ILLEGAL_MESSAGE_GROUP,
    definition.ILLEGAL_MESSAGE_PROPERTY_KEY,
    definition.ILLEGAL_MESSAGE_ID,
    definition.MESSAGE_PROPERTY_CONFLICT_WITH_TYPE,
    definition.MESSAGE_CORRUPTED,
    definition.UNAUTHORIZED,
    definition.FORBIDDEN,
    definition.MESSAGE_BODY_TOO_LARGE,
    definition.MESSAGE_BODY_EMPTY,
}
_LATER_CODES = {definition.TOO_MANY_REQUESTS, definition.TOPIC_NOT_FOUND, definition.UNRECOGNIZED_CLIENT_TYPE}
_UNTOLD = "expected type is UNSPECIFIED"
"""A proxy that could not ask the topic's broker, because it was being restarted, takes the topic to have no type."""
_FINAL_RPC_CODES = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}


class _Turn:
    """Whose turn it is to append to one topic."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class Appender:
    """See `Log.append`."""

    def __init__(self, session: Session, routes: Routes) -> None:
        self._session = session
        self._routes = routes
        self._turns: dict[str, _Turn] = {}
        self._serial = itertools.count()
        self._id_prefix = f"01{secrets.token_hex(12)}"

    async def append(self, topic: str, record: bytes, *, timeout_ms: int) -> int:
        """The record's offset; raises `AppendRefused` and `AppendUnknown` only."""
        deadline_s = time.monotonic() + timeout_ms / 1000
        async with self._turn(topic, deadline_s):
            await self._check_route(topic, deadline_s)
            request = self._request(topic, record)
            try:
                left_s = max(deadline_s - time.monotonic(), 0.001)
                answer = await self._session.call("SendMessage", request, timeout_s=left_s)
            except grpc.aio.AioRpcError as error:
                raise failure_of_call(topic, error.code(), details=str(error.details())) from None
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                raise AppendUnknown(f"{topic}: the channel was closed") from None
            return await self._outcome(topic, answer)

    @asynccontextmanager
    async def _turn(self, topic: str, deadline_s: float) -> AsyncIterator[None]:
        turn = self._turns.setdefault(topic, _Turn())
        if turn.waiting >= _MAX_WAITING_APPENDS:
            raise AppendRefused(f"{topic}: {turn.waiting} appends are waiting already", final=False)
        turn.waiting += 1
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                await turn.lock.acquire()
        except TimeoutError:
            raise AppendRefused(f"{topic}: not sent, another append was under way all the time", final=False) from None
        finally:
            turn.waiting -= 1
        try:
            yield
        finally:
            turn.lock.release()

    async def _check_route(self, topic: str, deadline_s: float) -> None:
        """Before the first append: the topic is there, and is a log (one queue)."""
        if self._routes.knows(topic):
            return
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                await self._routes.broker_of(topic)
        except (TopicMissing, BadSettings) as error:
            raise AppendRefused(str(error), final=True) from error
        except Unavailable as error:
            raise AppendRefused(f"{topic}: not sent: {error}", final=False) from error
        except TimeoutError:
            raise AppendRefused(f"{topic}: not sent: its route was not told in time", final=False) from None

    def _request(self, topic: str, record: bytes) -> Any:  # Any: generated code that comes without types
        message = definition.Message(body=record)
        message.topic.name = topic
        properties = message.system_properties
        properties.message_id = f"{self._id_prefix}{next(self._serial):08X}"
        properties.message_type = definition.NORMAL
        properties.body_encoding = definition.IDENTITY
        properties.born_host = "bennu"
        properties.born_timestamp.seconds = int(time.time())
        return service.SendMessageRequest(messages=[message])

    async def _outcome(self, topic: str, answer: Any) -> int:  # Any: generated code that comes without types
        entry = answer.entries[0] if answer.entries else None
        status = answer.status if entry is None or answer.status.code != definition.OK else entry.status
        if status.code == definition.OK and entry is not None:
            return int(entry.offset)
        if status.code == definition.TOPIC_NOT_FOUND and await self._is_gone(topic):
            raise AppendRefused(f"{topic}: no such topic", final=True)
        raise failure_of_status(topic, status.code, message=status.message)

    async def _is_gone(self, topic: str) -> bool:
        """A proxy says "not found" also while the topic's broker is away: only who keeps the topics knows."""
        try:
            return await self._routes.is_gone(topic)
        except Unavailable:
            return False


def failure_of_call(topic: str, code: grpc.StatusCode, *, details: str) -> AppendRefused | AppendUnknown:
    """What a failed call means: unknown, unless we were not let in."""
    if code in _FINAL_RPC_CODES:
        return AppendRefused(f"{topic}: {code.name}: {details}", final=True)
    return AppendUnknown(f"{topic}: {code.name}: {details}")


def failure_of_status(topic: str, code: int, *, message: str) -> AppendRefused | AppendUnknown:
    """What an answer other than OK means: a definite refusal if it is on the list, else unknown."""
    if code == definition.MESSAGE_PROPERTY_CONFLICT_WITH_TYPE and _UNTOLD in message:
        return AppendRefused(f"{topic}: {code}: {message}", final=False)
    if code in _FINAL_CODES:
        return AppendRefused(f"{topic}: {code}: {message}", final=True)
    if code in _LATER_CODES:
        return AppendRefused(f"{topic}: {code}: {message}", final=False)
    return AppendUnknown(f"{topic}: {code}: {message}")
