"""Questions out and answers in over one gRPC stream, by the frame.

What is asked while a frame is being written goes out with the next one, so that the cost of a frame is shared by all
that came together.  Answers may come in any order.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import count
from typing import Generic, NamedTuple, TypeVar

import grpc

Q = TypeVar("Q")
A = TypeVar("A")
FrameT = TypeVar("FrameT")
RepliesT = TypeVar("RepliesT")


class StreamEnded(Exception):
    """What had no answer by then has an unknown outcome."""


class Asked(NamedTuple, Generic[Q]):
    """A question on its way out."""

    number: int
    question: Q


class Exchange(ABC, Generic[Q, A, FrameT, RepliesT]):
    """Usable until `over`; then a new one is needed."""

    def __init__(self, call: "Callable[[], grpc.aio.StreamStreamCall[FrameT, RepliesT]]") -> None:
        """`call` begins the stream."""
        self.over = False
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[A]] = {}
        self._out: dict[int, Q] = {}
        """Not sent yet, by number."""
        self._wake = asyncio.Event()
        self._heard = 0
        self._work = asyncio.create_task(self._run(call))
        self._work.add_done_callback(lambda _: self._end())

    @abstractmethod
    def frame(self, asked: Sequence[Asked[Q]]) -> tuple[FrameT, int]:
        """A frame of the first ones, and how many it had room for; at least one."""

    @abstractmethod
    def answers(self, replies: RepliesT) -> Iterable[tuple[int, A]]:
        """The answers that came, with the numbers of their questions."""

    async def ask(self, question: Q, *, timeout_s: float) -> A:
        """Raises `StreamEnded`, or `TimeoutError` when there is no answer in time."""
        if self.over:
            raise StreamEnded
        number, heard = next(self._numbers), self._heard
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._out[number] = question
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            if self._heard == heard:  # nor did anybody else: the link may be dead, and only a new one finds out
                self._work.cancel()
            raise
        finally:
            del self._waiting[number]
            self._out.pop(number, None)  # nobody waits for it any more

    async def close(self) -> None:
        """End the stream."""
        self._work.cancel()
        await asyncio.wait((self._work,))

    def _end(self) -> None:
        self.over = True
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(StreamEnded())

    async def _run(self, begin: "Callable[[], grpc.aio.StreamStreamCall[FrameT, RepliesT]]") -> None:
        call = begin()
        writing = asyncio.create_task(self._write(call))
        try:
            with suppress(grpc.aio.AioRpcError):  # that it is over is all that matters
                async for replies in call:
                    self._hear(replies)
        finally:
            call.cancel()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    def _hear(self, replies: RepliesT) -> None:
        self._heard += 1
        for number, answer in self.answers(replies):
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

    async def _write(self, call: "grpc.aio.StreamStreamCall[FrameT, RepliesT]") -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._out:
                asked = [Asked(number, question) for number, question in self._out.items()]
                frame, taken = self.frame(asked)
                for number, _ in asked[:taken]:
                    del self._out[number]
                await call.write(frame)
