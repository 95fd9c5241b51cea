"""Topics and groups: asked of the name server, or of one broker, by remoting.

A log is a topic with one queue on one broker, so `create` picks one broker, the same for every process that asks.
"""

import json
import re
import zlib
from typing import Any

from bennu.errors import BadSettings, Unavailable
from bennu.log.rocketmq.frame import Frame
from bennu.log.rocketmq.remoting import RemotingClient
from bennu.log.rocketmq.settings import Address, RocketmqSettings, parse_address

READER_GROUP = "bennu"
"""The consumer group named in each pull.  It keeps no position: brokers merely want one."""

_UPDATE_TOPIC = 17
_ROUTE_OF_TOPIC = 105
_CLUSTER_INFO = 106
_UPDATE_GROUP = 200
_TOPIC_CONFIG = 351

OK = 0
NO_PERMISSION = 16
TOPIC_NOT_EXIST = 17

_ASK_TIMEOUT_MS = 3_000
_BARE_KEY = re.compile(r"([{,])\s*(\d+)\s*:")


class Admin:
    """What only the name server or a broker can tell or do."""

    def __init__(self, settings: RocketmqSettings) -> None:
        self._settings = settings
        self._clients: dict[Address, RemotingClient] = {}

    @property
    def is_able(self) -> bool:
        """Whether the settings name anybody to ask."""
        return self._settings.namesrv is not None or self._settings.broker is not None

    async def create(self, topic: str) -> None:
        """Make the topic, and the group that readers name.  Raises `Unavailable`, `BadSettings`."""
        if not self.is_able:
            raise BadSettings("to create topics the log's URL must name namesrv=HOST:PORT or broker=HOST:PORT")
        if await self._queues(topic) is None:
            broker = await self._broker_for(topic)
            await self.create_group(broker)
            await self._create_at(broker, topic)
        if (queues := await self._queues(topic)) is None:
            # Nobody asks the proxy before this: it would remember for 20 s that there is no such topic.
            raise Unavailable(f"{topic}: made, but the name server does not know it yet")
        if queues != 1:
            raise BadSettings(f"{topic}: has {queues} queues, a log has one")

    async def is_gone(self, topic: str, *, seen_at: str | None) -> bool:
        """Whether the topic certainly is not there.  `seen_at`: the broker that had it.  Raises `Unavailable`.

        A name server forgets the topics of a broker that is away, and all of them when it restarts: its "no" counts
        only while the broker (any broker, if the topic was never seen) is registered.
        """
        if not self.is_able:
            return seen_at is None
        if await self._queues(topic) is not None:
            return False
        if self._settings.namesrv is None:
            return True
        brokers = await self._brokers()
        return seen_at in brokers if seen_at is not None else bool(brokers)

    async def create_group(self, broker: Address) -> None:
        """Make the readers' group (idempotent)."""
        group = {
            "groupName": READER_GROUP,
            "consumeEnable": True,
            "consumeFromMinEnable": True,
            "consumeBroadcastEnable": True,
            "retryQueueNums": 1,
            "retryMaxTimes": 16,
            "brokerId": 0,
            "whichBrokerWhenConsumeSlowly": 1,
            "notifyConsumerIdsChangedEnable": False,
        }
        answer = await self._client(broker).call(
            _UPDATE_GROUP, {}, timeout_ms=_ASK_TIMEOUT_MS, body=json.dumps(group).encode()
        )
        _check(answer, f"the group {READER_GROUP} cannot be made at {broker}")

    async def create_group_everywhere(self) -> None:
        """Make the readers' group at every broker that can be named; nothing if none can."""
        if self._settings.broker is not None:
            await self.create_group(self._settings.broker)
        elif self._settings.namesrv is not None:
            for broker in (await self._brokers()).values():
                await self.create_group(broker)

    async def _create_at(self, broker: Address, topic: str) -> None:
        fields = {
            "topic": topic,
            "defaultTopic": "TBW102",
            "readQueueNums": "1",
            "writeQueueNums": "1",
            "perm": "6",
            "topicFilterType": "SINGLE_TAG",
            "topicSysFlag": "0",
            "order": "false",
            "attributes": "+message.type=NORMAL",
        }
        answer = await self._client(broker).call(_UPDATE_TOPIC, fields, timeout_ms=_ASK_TIMEOUT_MS)
        _check(answer, f"{topic}: cannot be made at {broker}")

    async def _queues(self, topic: str) -> int | None:
        """How many queues the topic has; None without the topic."""
        if self._settings.namesrv is not None:
            fields = {"topic": topic, "acceptStandardJsonOnly": "true"}
            answer = await self._client(self._settings.namesrv).call(
                _ROUTE_OF_TOPIC, fields, timeout_ms=_ASK_TIMEOUT_MS
            )
        else:
            assert self._settings.broker is not None
            answer = await self._client(self._settings.broker).call(
                _TOPIC_CONFIG, {"topic": topic}, timeout_ms=_ASK_TIMEOUT_MS
            )
        if answer.code == TOPIC_NOT_EXIST:
            return None
        _check(answer, f"{topic}: its settings are not told")
        told = _json(answer)
        queues = told.get("queueDatas", [told])
        return sum(max(int(queue["readQueueNums"]), int(queue["writeQueueNums"])) for queue in queues)

    async def _brokers(self) -> dict[str, Address]:
        assert self._settings.namesrv is not None
        answer = await self._client(self._settings.namesrv).call(_CLUSTER_INFO, {}, timeout_ms=_ASK_TIMEOUT_MS)
        _check(answer, "the name server does not tell its brokers")
        table = _json(answer).get("brokerAddrTable") or {}
        masters = {name: data.get("brokerAddrs", {}).get("0") for name, data in table.items()}
        return {name: parse_address("a broker", master) for name, master in masters.items() if master}

    async def _broker_for(self, topic: str) -> Address:
        if self._settings.broker is not None:
            return self._settings.broker
        brokers = await self._brokers()
        if not brokers:
            raise Unavailable("no broker is registered at the name server")
        names = sorted(brokers)
        return brokers[names[zlib.crc32(topic.encode()) % len(names)]]

    def _client(self, peer: Address) -> RemotingClient:
        if peer not in self._clients:
            self._clients[peer] = RemotingClient(peer, self._settings.credentials)
        return self._clients[peer]

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.close()


def _check(answer: Frame, problem: str) -> None:
    if answer.code == NO_PERMISSION:
        raise BadSettings(f"{problem}: not permitted: {answer.remark[:200]}")
    if answer.code != OK:
        raise Unavailable(f"{problem}: {answer.code}: {answer.remark[:200]}")


def _json(answer: Frame) -> dict[str, Any]:  # Any: JSON of another program
    """RocketMQ writes integers as keys without quotes; JSON wants them quoted."""
    text = _BARE_KEY.sub(r'\1"\2":', bytes(answer.body).decode(errors="replace"))
    try:
        told = json.loads(text)
    except ValueError as error:
        raise Unavailable(f"an answer that is no JSON: {error}") from error
    if not isinstance(told, dict):
        raise Unavailable("an answer that is no JSON object")
    return told
