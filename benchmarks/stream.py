"""The client of a stream of command frames, made beforehand, so that what is measured is the server."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import grpc

from bennu.errors import Unavailable
from bennu.v1.stream_pb2 import ReplyFrame

EXECUTE = "/bennu.v1.CommandStream/Execute"
CALL_TIMEOUT_S = 600.0

Turn = Callable[[int], Awaitable[None]]
"""Waits until the frame of this number may be sent."""
After = Callable[[], None]
"""Hears of each answer."""


class Answered(NamedTuple):
    """A frame, by the clock of `time.perf_counter`."""

    sent_s: float
    at_s: float
    commands: int
    refused: int
    """Commands that were not carried out."""

    @property
    def took_ms(self) -> float:
        return (self.at_s - self.sent_s) * 1000


class StreamClient:
    """Of one server."""

    def __init__(self, channel: grpc.aio.Channel, name: str) -> None:
        # Bytes in, bytes out: what is measured is the server, not this client's parsing.
        self._execute: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(EXECUTE)
        self._name = name

    async def send(self, frames: Sequence[bytes], *, in_flight: int) -> list[Answered]:
        """All of them, so many at a time.  Raises `Unavailable` when a command was not carried out."""
        slots = asyncio.Semaphore(in_flight)

        async def turn(_: int) -> None:
            await slots.acquire()

        answered = await self._all(frames, turn, after=slots.release)
        if any(each.refused for each in answered):
            raise Unavailable(f"{self._name}: {sum(each.refused for each in answered)} commands were not carried out")
        return answered

    async def send_at(self, frames: Sequence[bytes], due_s: Sequence[float]) -> list[Answered]:
        """Each when it is due, or as soon after as the transport takes it, whatever became of those before."""

        async def turn(number: int) -> None:
            while (early_s := due_s[number] - time.perf_counter()) > 0:  # noqa: ASYNC110  it is the clock that is awaited
                await asyncio.sleep(early_s)

        return await self._all(frames, turn, after=_nothing)

    async def _all(self, frames: Sequence[bytes], turn: Turn, *, after: After) -> list[Answered]:
        """In the order of the frames, which are numbered from 0 on."""
        call = self._execute(timeout=CALL_TIMEOUT_S)
        sent_s: list[float] = []
        answers: list[tuple[float, bytes]] = []

        async def write() -> None:
            for number, frame in enumerate(frames):
                await turn(number)
                sent_s.append(time.perf_counter())
                await call.write(frame)
            await call.done_writing()

        writing = asyncio.create_task(write())
        try:
            async for raw in call:
                answers.append((time.perf_counter(), raw))
                after()
            await writing
        finally:
            writing.cancel()
        return self._judged(answers, sent_s)

    def _judged(self, answers: list[tuple[float, bytes]], sent_s: list[float]) -> list[Answered]:
        found: dict[int, Answered] = {}
        for at_s, raw in answers:
            answer = ReplyFrame.FromString(raw)
            refused = sum(map(bool, answer.codes))
            found[answer.frame_id] = Answered(sent_s[answer.frame_id], at_s, len(answer.codes), refused)
        if len(found) != len(sent_s):
            raise Unavailable(f"{self._name}: {len(found)} of {len(sent_s)} frames were answered")
        return [found[number] for number in range(len(sent_s))]


def _nothing() -> None:
    pass
