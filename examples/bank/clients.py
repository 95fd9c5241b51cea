"""Clients of the bank: each call has an id, and is repeated with it until its outcome is known."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.message import Message

from bank.v1.bank_pb2_grpc import BankStub

if TYPE_CHECKING:
    from bank.v1.bank_pb2_grpc import BankAsyncStub  # a name of the type stubs alone

CALL_TIMEOUT_S = 5.0
GIVE_UP_S = 60.0
PAUSE_FIRST_S, PAUSE_MAX_S = 0.02, 1.0
CHANNELS = 4
UNDECIDED = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,  # by a server that stops
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
"""Nothing, or not yet, is known of the command: it may be sent again with the same id."""

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
Work = TypeVar("Work")


class Client:
    """One caller.  `chance` is for the jitter of its pauses alone."""

    def __init__(self, bank: "BankAsyncStub", chance: random.Random) -> None:
        self.bank = bank
        self._chance = chance

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Reply], request: Request, command_id: str = ""
    ) -> Reply:
        """The reply.  Raises `TimeoutError` after a minute without a known outcome, `AioRpcError` for a refusal."""
        metadata = (("idempotency-key", command_id), ("bennu-actor", "client")) if command_id else ()
        pause_s = PAUSE_FIRST_S
        async with asyncio.timeout(GIVE_UP_S):
            while True:
                try:
                    return await method(request, metadata=metadata, timeout=CALL_TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in UNDECIDED:
                        raise
                await asyncio.sleep(pause_s * self._chance.uniform(0.5, 1.5))
                pause_s = min(2 * pause_s, PAUSE_MAX_S)


@asynccontextmanager
async def clients(address: str, count: int, *, seed: int) -> AsyncIterator[list[Client]]:
    """`count` callers over a few connections."""
    async with AsyncExitStack() as stack:
        options = (("grpc.use_local_subchannel_pool", 1),)  # else the channels would share one connection
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            for _ in range(min(CHANNELS, count))
        ]
        stubs: list[BankAsyncStub] = [BankStub(channel) for channel in channels]
        yield [Client(stub, random.Random(f"{seed}/{n}")) for n, stub in zip(range(count), cycle(stubs), strict=False)]


async def share_out(callers: list[Client], work: Iterable[Work], do: Callable[[Client, Work], Awaitable[None]]) -> None:
    """Each caller takes the next piece of work when it has done one; the first failure is raised."""
    todo = iter(work)

    async def run(client: Client) -> None:
        for piece in todo:
            await do(client, piece)

    async with asyncio.TaskGroup() as group:
        for client in callers:
            group.create_task(run(client))
