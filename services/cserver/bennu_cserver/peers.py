"""Asking the process that leads: commands and queries sent on with their ids, origins and deadlines."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import Message

from bennu.limits import MAX_FRAME_BYTES, REPLY_TIMEOUT_MS
from bennu.members.limits import HEARTBEAT_MS
from bennu.ops.answers import code_of
from bennu.ops.exchange import StreamEnded
from bennu.v1.command_pb2 import CommandBatch, Origin
from bennu.v1.members_pb2 import Seat
from bennu.v1.peer_pb2 import PeerQuery
from bennu.v1.peer_pb2_grpc import PeerStub
from bennu.v1.stream_pb2 import CommandFrame
from bennu.wire.commands import command_batch
from bennu_cserver.deciding import Tried
from bennu_cserver.local import Answered, Unsettled
from bennu_cserver.peer_link import Link
from bennu_cserver.replies import UNKNOWN
from bennu_cserver.submission import Caller, Prepared, Reply

if TYPE_CHECKING:
    from bennu.v1.peer_pb2_grpc import PeerAsyncStub  # stands in the stubs' types alone

CLIENT = "bennu-client"
"""Metadata: on whose behalf, so that the leader's line is fair between clients and not between processes."""

PING_EVERY_MS, PING_TIMEOUT_MS = 2_000, 2_000
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", 4 * MAX_FRAME_BYTES),
    ("grpc.enable_retries", 0),
    # A process that is gone without a word, or paused, is found out although commands wait on its one stream.
    ("grpc.keepalive_time_ms", PING_EVERY_MS),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.http2.max_pings_without_data", 0),
)
NOBODY_KNOWS = code_of(grpc.StatusCode.UNAVAILABLE)


class Peers:
    """Channels to other processes of the service, by address."""

    def __init__(self) -> None:
        self._channels: list[grpc.aio.Channel] = []
        self._stubs: dict[str, PeerAsyncStub] = {}
        self._links: dict[str, Link] = {}
        self._telling = set[asyncio.Task[None]]()

    async def close(self) -> None:
        """End all calls."""
        for task in self._telling:
            task.cancel()
        for link in self._links.values():
            await link.close()
        for channel in self._channels:
            await channel.close()

    def _stub(self, address: str) -> "PeerAsyncStub":
        stub = self._stubs.get(address)
        if stub is None:  # kept, as making one costs a good part of a call
            channel = grpc.aio.insecure_channel(address, options=OPTIONS)
            self._channels.append(channel)
            stub = self._stubs[address] = PeerStub(channel)
        return stub

    def _link(self, address: str) -> Link:
        link = self._links.get(address)
        if link is None or link.over:
            link = self._links[address] = Link(self._stub(address))
        return link

    def gave_up(self, addresses: Sequence[str], seat: Seat) -> None:
        """Tell these processes that a leadership was given up.  Nobody waits for it: heartbeats say so, too."""
        for address in addresses:
            task = asyncio.create_task(self._tell(address, seat))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _tell(self, address: str, seat: Seat) -> None:
        with suppress(grpc.aio.AioRpcError):
            await self._stub(address).GaveUp(seat, timeout=HEARTBEAT_MS / 1000)

    async def execute(self, address: str, commands: Sequence[Prepared], caller: Caller) -> Answered:
        """Have commands decided there.  Raises `Unsettled`."""
        link, batch = self._link(address), _batch(commands)
        try:
            answer = await link.submit(batch, client=caller.client, timeout_s=_timeout_s(caller))
        except (StreamEnded, TimeoutError) as error:
            raise Unsettled(UNKNOWN) from error
        if NOBODY_KNOWS in answer.codes or len(answer.codes) != len(commands):
            raise Unsettled(UNKNOWN)
        return list(zip(answer.codes, answer.replies, strict=True)), answer.position

    async def try_out(self, address: str, command: Prepared, caller: Caller) -> tuple[Tried, str]:
        """Have a command tried there.  Raises `Unsettled`."""
        frame = CommandFrame(commands=_batch([command]), dry_run=True)
        try:
            answer = await self._stub(address).TryOut(frame, timeout=_timeout_s(caller), metadata=_metadata(caller))
        except grpc.aio.AioRpcError as error:
            raise Unsettled(UNKNOWN) from error
        if NOBODY_KNOWS in answer.codes:
            raise Unsettled(UNKNOWN)
        position = answer.positions[0] if answer.positions else ""  # none when it was refused for want of room
        return ((answer.codes[0], answer.replies[0]), answer.dry_runs[0]), position

    async def ask(self, address: str, query: Message, *, linearizable: bool, caller: Caller) -> tuple[Reply, str]:
        """Have a query answered there.  Raises `Unsettled`."""
        type_name = query.DESCRIPTOR.full_name
        asked = PeerQuery(type=type_name, payload=query.SerializeToString(), linearizable=linearizable)
        try:
            answer = await self._stub(address).Ask(asked, timeout=_timeout_s(caller), metadata=_metadata(caller))
        except grpc.aio.AioRpcError as error:
            raise Unsettled(UNKNOWN) from error
        if answer.code == NOBODY_KNOWS:
            raise Unsettled(UNKNOWN)
        return (answer.code, answer.reply), answer.position


def _metadata(caller: Caller) -> tuple[tuple[str, str], ...]:
    return ((CLIENT, caller.client),) if caller.client else ()


def _timeout_s(caller: Caller) -> float:
    return max(0.001, min(REPLY_TIMEOUT_MS / 1000, caller.deadline_s - asyncio.get_running_loop().time()))


def _payload(command: Prepared) -> bytes:
    assert command.message is not None
    return command.message.SerializeToString()


def _batch(commands: Sequence[Prepared]) -> CommandBatch:
    """As a client would have sent them, with the ids that were made here."""
    batch = command_batch((command.command_id, command.type_name, _payload(command)) for command in commands)
    origins: dict[int, tuple[int, Origin]] = {}
    for command in commands:
        origin = command.origin
        batch.origin_indexes.append(origins.setdefault(id(origin), (len(origins), origin))[0])
    batch.origins.extend(origin for _, origin in origins.values())
    return batch
