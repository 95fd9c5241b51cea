"""An open loop of commands: each is sent when its time has come, whatever became of those before it.

What is due within some milliseconds goes to one node in one frame of its stream; nodes take turns, as behind a load
balancer.  What has no known outcome is sent again with the same id, to the next node.
"""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from types import TracebackType
from typing import Self

import grpc
from google.rpc.status_pb2 import Status

from bennu.drill.calls import OK, Answer, Call, Command
from bennu.drill.limits import (
    AT_A_TIME,
    CALL_TIMEOUT_S,
    CALLS_AT_ONCE,
    GATHER_S,
    GIVE_UP_S,
    MAX_BEHIND_S,
    PAUSE_FIRST_S,
    PAUSE_MAX_S,
)
from bennu.drill.stream import Stream
from bennu.errors import Unavailable
from bennu.ops.exchange import StreamEnded

UNDECIDED = tuple(
    code.value[0]
    for code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
)
DETAILS = "grpc-status-details-bin"
POSITION = "bennu-position"
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 250),
    ("grpc.enable_retries", 0),
)

Metadata = Sequence[tuple[str, str | bytes]]
Rpc = grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]


class Load:
    """Calls at the nodes.  `calls` is the history; each of `watchers` is told of each answer."""

    def __init__(self, addresses: Mapping[str, str], *, chance: random.Random) -> None:
        """`addresses` of the nodes' gRPC ports, by name."""
        self.calls: list[Call] = []
        self.watchers: list[Callable[[Call], None]] = []
        self._channels = {
            node: grpc.aio.insecure_channel(address, options=OPTIONS) for node, address in addresses.items()
        }
        self._nodes = list(addresses)
        self._streams: dict[str, Stream] = {}
        self._slots = asyncio.Semaphore(CALLS_AT_ONCE)
        self._chance = chance
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        for stream in self._streams.values():
            await stream.close()
        for channel in self._channels.values():
            await channel.close()

    # --- in the open loop

    async def run(self, commands: Iterator[Command], rate: float) -> None:
        """Send for ever.  Raises `Unavailable` when far too many wait for an answer."""
        begin_s, turn = time.monotonic(), 0
        for number in count():
            due_s = begin_s + number / rate
            if due_s > time.monotonic():
                await asyncio.sleep(due_s - time.monotonic() + GATHER_S)
                turn += 1
            if len(self._under_way) >= MAX_BEHIND_S * rate:
                raise Unavailable(
                    f"{len(self._under_way)} commands, {MAX_BEHIND_S:.0f} seconds of load, wait for an answer: this "
                    "cluster can't carry it, so nothing can be measured; say a lower --rate, or leave it the machine"
                )
            self.begin(Call(next(commands), due_s), turn)

    def begin(self, call: Call, turn: int) -> None:
        """Send it until it is answered or given up; `turn` says which node is asked first."""
        self.calls.append(call)
        task = asyncio.create_task(self._until_answered(call, turn))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def settle(self) -> None:
        """Until each command was answered, or given up."""
        while self._under_way:
            await asyncio.wait(set(self._under_way))

    # --- one after another, and what comes of each

    async def all_of(self, commands: Iterable[Command]) -> list[Call]:
        """Send these, some at a time, outside the open loop; they are part of the history.  Raises `Unavailable`."""
        calls = [Call(command, time.monotonic()) for command in commands]
        await some_at_a_time([partial(self._until_answered, call, turn) for turn, call in enumerate(calls)])
        self.calls += calls
        if (unanswered := next((call for call in calls if call.answer is None), None)) is not None:
            raise Unavailable(f"{unanswered.command.command_id} was not answered in {GIVE_UP_S:.0f} s")
        return calls

    async def again(self, commands: Iterable[Command]) -> list[Call]:
        """Send commands a second time.  Not part of the history."""
        calls = [Call(command, time.monotonic()) for command in commands]
        await some_at_a_time([partial(self._until_answered, call, turn) for turn, call in enumerate(calls)])
        return calls

    async def _until_answered(self, call: Call, turn: int) -> None:
        """`turn` says which node is asked first."""
        pause_s = PAUSE_FIRST_S
        with suppress(TimeoutError):
            async with asyncio.timeout(GIVE_UP_S):
                while call.answer is None:
                    call.attempts += 1
                    async with self._slots:
                        node = self._nodes[(turn + call.attempts) % len(self._nodes)]
                        call.answer = await self._attempt(node, call.command)
                    if call.answer is None:
                        await asyncio.sleep(pause_s * self._chance.uniform(0.5, 1.5))
                        pause_s = min(2 * pause_s, PAUSE_MAX_S)
        if call.answer is not None:
            for watcher in tuple(self.watchers):
                watcher(call)

    async def _attempt(self, node: str, command: Command) -> Answer | None:
        stream = self._streams.get(node)
        if stream is None or stream.over:
            stream = self._streams[node] = Stream(self._channels[node])
        try:
            code, reply, token = await stream.ask(command, timeout_s=CALL_TIMEOUT_S)
        except (StreamEnded, TimeoutError):
            return None
        return None if code in UNDECIDED else Answer(time.monotonic(), node, code, reply, token)

    async def ask(self, node: str, method: str, payload: bytes, *, metadata: Metadata) -> Answer | None:
        """One typed call at one node; None when its outcome is not known."""
        rpc: Rpc = self._channels[node].unary_unary(method)
        call = rpc(payload, metadata=tuple(metadata), timeout=CALL_TIMEOUT_S)
        try:
            code, reply = OK, await call
        except grpc.aio.AioRpcError as error:
            details = dict(error.trailing_metadata() or ()).get(DETAILS)
            if error.code().value[0] in UNDECIDED or not isinstance(details, bytes):
                return None
            code, reply = Status.FromString(details).code, details
        token = dict(await call.trailing_metadata() or ()).get(POSITION, "")
        return Answer(time.monotonic(), node, code, reply, str(token))


async def some_at_a_time(work: Iterable[Callable[[], Coroutine[None, None, object]]]) -> None:
    """Do all of it, a few at a time."""
    slots = asyncio.Semaphore(AT_A_TIME)

    async def one(piece: Callable[[], Coroutine[None, None, object]]) -> None:
        async with slots:
            await piece()

    async with asyncio.TaskGroup() as group:
        for piece in work:
            group.create_task(one(piece))
