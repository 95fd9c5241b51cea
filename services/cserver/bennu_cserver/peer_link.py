"""One stream from this process to another that leads: commands go out, and their answers come back, by the frame.

What is to be sent while a frame is being written goes out with the next one; and all answers that one batch made true
come in one frame.
"""

import asyncio
from contextlib import suppress
from itertools import count
from math import ceil
from typing import TYPE_CHECKING, TypeVar

import grpc

from bennu.limits import MAX_FRAME_BYTES
from bennu.v1.command_pb2 import CommandBatch
from bennu.v1.peer_pb2 import PeerAnswers, PeerFrame, PeerOutcome, PeerSubmission

if TYPE_CHECKING:
    from bennu.v1.peer_pb2_grpc import PeerAsyncStub  # stands in the stubs' types alone

Call = grpc.aio.StreamStreamCall[PeerFrame, PeerAnswers]
T = TypeVar("T", PeerSubmission, PeerOutcome)


class LinkBroken(Exception):
    """The stream has ended: what had no answer yet has an unknown outcome."""


class Link:
    """Usable until `over`; then a new one is needed."""

    def __init__(self, stub: "PeerAsyncStub") -> None:
        self.over = False
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[PeerOutcome]] = {}
        self._out: list[PeerSubmission] = []
        self._wake = asyncio.Event()
        self._answers = 0
        self._work = asyncio.create_task(self._run(stub))
        self._work.add_done_callback(lambda _: self._end())

    async def submit(self, commands: CommandBatch, *, client: str, timeout_s: float) -> PeerOutcome:
        """Have commands decided there.  Raises `LinkBroken`, or `TimeoutError` when there is no answer in time."""
        number, answers = next(self._numbers), self._answers
        answer: asyncio.Future[PeerOutcome] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        timeout_ms = ceil(timeout_s * 1000)
        self._out.append(PeerSubmission(number=number, commands=commands, client=client, timeout_ms=timeout_ms))
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            if self._answers == answers:  # nor for anybody else: the link may be dead, and only a new one finds out
                self._work.cancel()
            raise
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        """End the stream."""
        self._work.cancel()
        await asyncio.wait((self._work,))

    def _end(self) -> None:
        self.over = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LinkBroken())

    async def _run(self, stub: "PeerAsyncStub") -> None:
        call = stub.Submit()
        writing = asyncio.create_task(self._write(call))
        try:
            with suppress(grpc.aio.AioRpcError):  # that it is over is all that matters
                await self._read(call)
        finally:
            call.cancel()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _write(self, call: Call) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._out:
                await call.write(PeerFrame(submissions=take_frame(self._out)))

    async def _read(self, call: Call) -> None:
        async for answers in call:
            self._answers += 1
            for outcome in answers.outcomes:
                answer = self._waiting.get(outcome.number)
                if answer is not None and not answer.done():
                    answer.set_result(outcome)


def take_frame(out: list[T]) -> list[T]:
    """Off the list, the first ones that one frame has room for; at least one."""
    end, size = 1, out[0].ByteSize()
    while end < len(out) and (size := size + out[end].ByteSize()) <= MAX_FRAME_BYTES:
        end += 1
    taken = out[:end]
    del out[:end]
    return taken
