"""The ceiling of the stream: what is left of CServer when all that a team relies on is taken away.

Frames in, ids looked up, deposits decoded and added, events encoded, one append in flight for all that came meanwhile,
frames out.  No validation, no digests, no envelope of an entry, no rules, no rejections, one partition, no followers,
and its journal could not be replayed after a change of leader.

    python -m benchmarks.contest.bare_loop LOG_URL
"""

import asyncio
import sys
from dataclasses import dataclass, field

import grpc
import uvloop

from bank.v1.commands_pb2 import Deposit
from bank.v1.events_pb2 import Deposited
from benchmarks.contest.answering import serve
from bennu import log as bennu_log
from bennu.log.port import Log
from bennu.ops.interpreter import settle
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.stream_pb2 import CommandFrame, ReplyFrame

TOPIC = "bare-events-0"
Context = grpc.aio.ServicerContext[bytes, bytes]


@dataclass
class Batch:
    """What the next append holds."""

    ids: list[str] = field(default_factory=list)
    events: list[bytes] = field(default_factory=list)
    durable: asyncio.Event = field(default_factory=asyncio.Event)


class BareLoop:
    """The bank, as far as deposits."""

    def __init__(self, log: Log) -> None:
        self.balances: dict[str, int] = {}
        self._log = log
        self._replies: dict[str, bytes] = {}
        self._batch = Batch()
        self._more = asyncio.Event()

    def handlers(self) -> grpc.GenericRpcHandler:
        """The service, at the address of the one it is compared with."""
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._execute)
        return grpc.method_handlers_generic_handler("bennu.v1.CommandStream", {"Execute": handler})

    async def append_all(self) -> None:
        """One append after another, for ever."""
        while True:
            await self._more.wait()
            self._more.clear()
            batch, self._batch = self._batch, Batch()
            if batch.ids:  # else all were known: what they wait for is in the log since the last turn
                body = EventBatch(command_ids=batch.ids, events=batch.events).SerializeToString()
                await self._log.append(TOPIC, body)
            batch.durable.set()

    async def _execute(self, _requests: object, context: Context) -> None:
        writing = asyncio.Lock()
        async with asyncio.TaskGroup() as group:
            while isinstance(request := await context.read(), bytes):
                group.create_task(self._answer(CommandFrame.FromString(request), context, writing))

    async def _answer(self, frame: CommandFrame, context: Context, writing: asyncio.Lock) -> None:
        answer = await self.answer(frame)
        async with writing:
            await context.write(answer.SerializeToString())

    async def answer(self, frame: CommandFrame) -> ReplyFrame:
        """Decide, and answer when it is durable."""
        batch, commands = self._batch, frame.commands
        ids = list(commands.command_ids)
        replies = [self._decide(*each, batch) for each in zip(ids, commands.payloads, strict=True)]
        self._more.set()
        await batch.durable.wait()
        return ReplyFrame(frame_id=frame.frame_id, codes=bytes(len(ids)), replies=replies, command_ids=ids)

    def _decide(self, command_id: str, payload: bytes, batch: Batch) -> bytes:
        if (known := self._replies.get(command_id)) is not None:
            return known
        command = Deposit.FromString(payload)
        account, amount_minor = command.account, command.amount_minor
        balance_minor = self.balances[account] = self.balances.get(account, 0) + amount_minor
        event = Deposited(
            account=account, amount_minor=amount_minor, currency=command.currency, balance_minor=balance_minor
        ).SerializeToString()
        batch.ids.append(command_id)
        batch.events.append(event)
        self._replies[command_id] = event
        return event


async def main(url: str) -> None:
    """Serve over this log."""
    async with bennu_log.open(url) as log, asyncio.TaskGroup() as group:
        await log.create(TOPIC)
        loop = BareLoop(log)
        group.create_task(loop.append_all())
        group.create_task(serve(loop.handlers()))


if __name__ == "__main__":
    settle()
    uvloop.run(main(sys.argv[1]))
