"""One stream from this process to another that leads: commands out, outcomes in."""

import asyncio
from collections.abc import Iterable, Sequence
from math import ceil
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from bennu.limits import MAX_FRAME_BYTES
from bennu.ops.exchange import Asked, Exchange
from bennu.v1.command_pb2 import CommandBatch
from bennu.v1.peer_pb2 import PeerAnswers, PeerFrame, PeerOutcome, PeerSubmission

if TYPE_CHECKING:
    from bennu.v1.peer_pb2_grpc import PeerAsyncStub  # stands in the stubs' types alone

T = TypeVar("T", PeerSubmission, PeerOutcome)


class Submitted(NamedTuple):
    """Commands on their way, and until when somebody waits for them."""

    submission: PeerSubmission
    until_s: float


class Link(Exchange[Submitted, PeerOutcome, PeerFrame, PeerAnswers]):
    """See `Exchange`."""

    def __init__(self, stub: "PeerAsyncStub") -> None:
        super().__init__(stub.Submit)
        self._now_s = asyncio.get_running_loop().time

    async def submit(self, commands: CommandBatch, *, client: str, timeout_s: float) -> PeerOutcome:
        """Have commands decided there.  Raises `StreamEnded`, or `TimeoutError` when there is no answer in time."""
        submission = PeerSubmission(commands=commands, client=client)
        return await self.ask(Submitted(submission, self._now_s() + timeout_s), timeout_s=timeout_s)

    def frame(self, asked: Sequence[Asked[Submitted]]) -> tuple[PeerFrame, int]:
        taken = asked[: room([each.question.submission for each in asked])]
        for number, (submission, until_s) in taken:
            submission.number = number
            submission.timeout_ms = max(1, ceil((until_s - self._now_s()) * 1000))
        return PeerFrame(submissions=[submission for _, (submission, _) in taken]), len(taken)

    def answers(self, replies: PeerAnswers) -> Iterable[tuple[int, PeerOutcome]]:
        return ((outcome.number, outcome) for outcome in replies.outcomes)


def room(messages: list[T]) -> int:
    """How many of the first ones one frame has room for; at least one."""
    size, end = messages[0].ByteSize(), 1
    while end < len(messages) and (size := size + messages[end].ByteSize()) <= MAX_FRAME_BYTES:
        end += 1
    return end
