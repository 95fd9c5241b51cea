"""One stream from this process to another that leads: commands out, outcomes in."""

from collections.abc import Iterable
from math import ceil
from typing import TYPE_CHECKING, TypeVar

from bennu.limits import MAX_FRAME_BYTES
from bennu.ops.exchange import Asked, Exchange
from bennu.v1.command_pb2 import CommandBatch
from bennu.v1.peer_pb2 import PeerAnswers, PeerFrame, PeerOutcome, PeerSubmission

if TYPE_CHECKING:
    from bennu.v1.peer_pb2_grpc import PeerAsyncStub  # stands in the stubs' types alone

T = TypeVar("T", PeerSubmission, PeerOutcome)


class Link(Exchange[PeerSubmission, PeerOutcome, PeerFrame, PeerAnswers]):
    """See `Exchange`."""

    def __init__(self, stub: "PeerAsyncStub") -> None:
        super().__init__(stub.Submit)

    async def submit(self, commands: CommandBatch, *, client: str, timeout_s: float) -> PeerOutcome:
        """Have commands decided there.  Raises `StreamEnded`, or `TimeoutError` when there is no answer in time."""
        submission = PeerSubmission(commands=commands, client=client, timeout_ms=ceil(timeout_s * 1000))
        return await self.ask(submission, timeout_s=timeout_s)

    def frame(self, out: list[Asked[PeerSubmission]]) -> PeerFrame:
        taken = out[: room([asked.question for asked in out])]
        del out[: len(taken)]
        for number, submission in taken:
            submission.number = number
        return PeerFrame(submissions=[submission for _, submission in taken])

    def answers(self, replies: PeerAnswers) -> Iterable[tuple[int, PeerOutcome]]:
        return ((outcome.number, outcome) for outcome in replies.outcomes)


def room(messages: list[T]) -> int:
    """How many of the first ones one frame has room for; at least one."""
    size, end = messages[0].ByteSize(), 1
    while end < len(messages) and (size := size + messages[end].ByteSize()) <= MAX_FRAME_BYTES:
        end += 1
    return end
