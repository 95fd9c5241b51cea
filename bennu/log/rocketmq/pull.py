"""Read by offset: PULL_MESSAGE with long poll, and never where the broker would rather have us continue.

While the caller works on a large chunk, as in a replay, the next pull is under way: its offset is known.

Each reader has a connection of its own.  A proxy drops an answer, without a word, when much of an earlier one still
waits to be sent on the same connection: beside a replay every now and then a follower would have to find out by its
deadline that it was left without an answer.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence

from bennu.errors import BadSettings, OffsetBeyondTail, OffsetGone, RecordBroken, TopicMissing, Unavailable
from bennu.log.patience import Patience
from bennu.log.port import Record
from bennu.log.rocketmq.admin import NO_PERMISSION, OK, READER_GROUP, TOPIC_NOT_EXIST, Admin
from bennu.log.rocketmq.frame import Frame
from bennu.log.rocketmq.messages import decode
from bennu.log.rocketmq.remoting import RemotingClient, Unanswered
from bennu.log.rocketmq.routes import Routes

_PULL = 11
_MAX_OFFSET = 30
_MIN_OFFSET = 31

_NOT_SUPPORTED = 3
_NOTHING_NEW = 19
_AGAIN = 20
_OUT_OF_RANGE = 21
_NO_GROUP = 26

_PULL_RECORDS = 1024
_PREFETCH_RECORDS = 32
_SUBSCRIPTION_IN_REQUEST = 4
_LONG_POLL = 2
# Short for a long poll: a proxy whose broker dies leaves the pull unanswered, and only our deadline ends it.  A broker
# that has nothing new says so when it looks next, every five seconds, so one pull of two is asked again for nothing.
_LONG_POLL_MS = 1_000
_ANSWER_TIMEOUT_MS = 2_500
_UNANSWERED_UNTIL_AWAY = 5
_ASK_TIMEOUT_MS = 3_000
_STRIKES_UNTIL_OUT_OF_RANGE = 3


class Puller:
    """Readers, and where topics begin and end."""

    def __init__(self, connect: Callable[[], RemotingClient], *, routes: Routes, admin: Admin) -> None:
        self._connect = connect
        self._client = connect()
        self._readers: set[RemotingClient] = set()
        self._routes = routes
        self._admin = admin
        self._closed = asyncio.Event()

    def close(self) -> None:
        """End all readers."""
        self._closed.set()
        for client in (self._client, *self._readers):
            client.close()

    async def bounds(self, topic: str) -> tuple[int, int]:
        """One attempt.  Raises `TopicMissing`, `Unavailable`, `BadSettings`."""
        fields = {"topic": topic, "queueId": "0", "bname": await self._routes.broker_of(topic)}
        first, end = await asyncio.gather(self._offset(_MIN_OFFSET, fields), self._offset(_MAX_OFFSET, fields))
        return max(first, 0), max(end, 0)

    async def _offset(self, code: int, fields: Mapping[str, str]) -> int:
        answer = await self._client.call(code, fields, timeout_ms=_ASK_TIMEOUT_MS)
        if answer.code == OK and "offset" in answer.fields:
            return int(answer.fields["offset"])
        topic = fields["topic"]
        if answer.code == TOPIC_NOT_EXIST and await self._routes.is_gone(topic):
            raise TopicMissing(f"{topic}: no such topic")
        self._routes.forget(topic)
        raise Unavailable(f"{topic}: no bounds: {answer.code}: {answer.remark[:200]}")

    async def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        """See `Log.read`."""
        client = self._connect()
        self._readers.add(client)
        coming = asyncio.ensure_future(_Pull(self, client, topic, offset=offset).until_found())
        try:
            while chunk := await coming:
                offset = chunk[-1].offset + 1
                many = len(chunk) >= _PREFETCH_RECORDS
                if not many:  # near the tail a reader takes its time, and what comes meanwhile is read together
                    yield chunk
                coming = asyncio.ensure_future(_Pull(self, client, topic, offset=offset).until_found())
                if many:
                    yield chunk
        finally:
            coming.cancel()
            self._readers.discard(client)
            client.close()
            await asyncio.gather(coming, return_exceptions=True)


class _Pull:
    """The records at one offset, however long they take to come."""

    def __init__(self, puller: Puller, client: RemotingClient, topic: str, *, offset: int) -> None:
        self._puller = puller
        self._client = client
        self._topic = topic
        self._offset = offset
        self._patience = Patience(f"reading {topic} at {offset}", puller._closed)
        self._strikes = 0
        self._unanswered = 0

    async def until_found(self) -> list[Record]:
        """Never empty, unless the log was closed."""
        while not self._puller._closed.is_set():
            try:
                answer = await self._answer()
                if answer is None:
                    continue
                if answer.code == OK:
                    return await self._decoded(answer)
                if answer.code == _NOTHING_NEW:
                    self._patience.reset()
                    self._strikes = 0
                    continue
                await self._judge(answer)
            except Unavailable as error:
                if not self._puller._closed.is_set():
                    await self._patience.wait(error)
        return []

    async def _answer(self) -> Frame | None:
        """None if there is none, which a few times in a row means nothing.  Raises `Unavailable`."""
        try:
            answer = await self._ask()
        except Unanswered:
            self._unanswered += 1
            if self._unanswered >= _UNANSWERED_UNTIL_AWAY:
                raise
            return None
        self._unanswered = 0
        return answer

    async def _ask(self) -> Frame:
        fields = {
            "consumerGroup": READER_GROUP,
            "topic": self._topic,
            "queueId": "0",
            "queueOffset": str(self._offset),
            "maxMsgNums": str(_PULL_RECORDS),
            "sysFlag": str(_SUBSCRIPTION_IN_REQUEST | _LONG_POLL),
            "commitOffset": "0",
            "suspendTimeoutMillis": str(_LONG_POLL_MS),
            "subscription": "*",
            "subVersion": "0",
            "expressionType": "TAG",
            "bname": await self._puller._routes.broker_of(self._topic),
        }
        return await self._client.call(_PULL, fields, timeout_ms=_LONG_POLL_MS + _ANSWER_TIMEOUT_MS)

    async def _decoded(self, answer: Frame) -> list[Record]:
        try:
            return decode(answer.body, topic=self._topic, offset=self._offset)
        except RecordBroken:
            # A broker that has deleted its oldest file answers with what is left, some time before it counts so.
            first, _ = await self._puller.bounds(self._topic)
            if self._offset < first:
                raise self._gone(first) from None
            raise

    async def _judge(self, answer: Frame) -> None:
        """What else a broker may say: raises what is final, waits for what may pass."""
        topic, problem = self._topic, f"{answer.code}: {answer.remark[:200]}"
        if answer.code in (_OUT_OF_RANGE, _AGAIN):
            await self._check_range()
        elif answer.code == TOPIC_NOT_EXIST:
            if await self._puller._routes.is_gone(topic):
                raise TopicMissing(f"{topic}: no such topic")
        elif answer.code == NO_PERMISSION:
            raise BadSettings(f"{topic}: may not be read: {problem}")
        elif answer.code == _NOT_SUPPORTED:
            raise BadSettings(f"{topic}: this port cannot be read from (a LOCAL proxy needs mode=local): {problem}")
        elif answer.code == _NO_GROUP:
            await self._puller._admin.create_group_everywhere()
        else:
            self._puller._routes.forget(topic)  # it may have moved
        await self._patience.wait(problem)

    async def _check_range(self) -> None:
        """Raise if the offset lies outside, and stays there: a broker that has just started may say so for a moment."""
        first, end = await self._puller.bounds(self._topic)
        if first <= self._offset <= end:
            self._strikes = 0
            return
        self._strikes += 1
        if self._strikes < _STRIKES_UNTIL_OUT_OF_RANGE:
            return
        if self._offset < first:
            raise self._gone(first)
        raise OffsetBeyondTail(f"{self._topic}: offset {self._offset} lies beyond the end, {end} would be next")

    def _gone(self, first: int) -> OffsetGone:
        return OffsetGone(f"{self._topic}: offset {self._offset} is gone, the first one kept is {first}")
