"""A client's stream to one node: what is due at the same time goes there in one frame."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import grpc

from bennu.drill.calls import Command
from bennu.limits import MAX_FRAME_COMMANDS
from bennu.ops.exchange import Asked, Exchange
from bennu.v1.command_pb2 import CommandBatch
from bennu.v1.stream_pb2 import CommandFrame, ReplyFrame
from bennu.v1.stream_pb2_grpc import CommandStreamStub

COMMANDS_FORMAT_VERSION = 1
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
        commands = [each.question for each in taken]
        types = list(dict.fromkeys(command.type_name for command in commands))
        batch = CommandBatch(
            format_version=COMMANDS_FORMAT_VERSION,
            types=types,
            command_ids=[command.command_id for command in commands],
            type_indexes=[types.index(command.type_name) for command in commands],
            payloads=[command.payload for command in commands],
        )
        return CommandFrame(frame_id=frame_id, commands=batch), len(taken)

    def answers(self, replies: ReplyFrame) -> Iterable[tuple[int, Told]]:
        tokens = {token.rpartition(":")[0].rpartition("-")[2]: token for token in replies.positions}
        for asked, code, reply in zip(self._frames.pop(replies.frame_id), replies.codes, replies.replies, strict=True):
            yield asked.number, Told(code, reply, tokens.get(str(asked.question.partition), ""))
