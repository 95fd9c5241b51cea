"""A client's stream to one node: what is due at the same time goes there in one frame."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import grpc

from bennu.drill.calls import Command
from bennu.limits import MAX_FRAME_COMMANDS
from bennu.ops.exchange import Asked, Exchange
from bennu.v1.stream_pb2 import CommandFrame, ReplyFrame
from bennu.v1.stream_pb2_grpc import CommandStreamStub
from bennu.wire.commands import command_batch

ACTOR = (("bennu-actor", "drill"),)


class Told(NamedTuple):
    """As in `ReplyFrame`."""

    code: int
    reply: bytes
    token: str


class Stream(Exchange[Command, Told, CommandFrame, ReplyFrame]):
    """See `Exchange`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(lambda: CommandStreamStub(channel).Execute(metadata=ACTOR))
        self._frames: dict[int, Sequence[Asked[Command]]] = {}

    def frame(self, asked: Sequence[Asked[Command]]) -> tuple[CommandFrame, int]:
        taken = asked[:MAX_FRAME_COMMANDS]
        frame_id = taken[0].number
        self._frames[frame_id] = taken
        batch = command_batch((one.command_id, one.type_name, one.payload) for _, one in taken)
        return CommandFrame(frame_id=frame_id, commands=batch), len(taken)

    def answers(self, replies: ReplyFrame) -> Iterable[tuple[int, Told]]:
        tokens = {token.rpartition(":")[0].rpartition("-")[2]: token for token in replies.positions}
        for asked, code, reply in zip(self._frames.pop(replies.frame_id), replies.codes, replies.replies, strict=True):
            yield asked.number, Told(code, reply, tokens.get(str(asked.question.partition), ""))
