"""From a command or query to the partition that takes it, and back with its answer."""

import asyncio
from collections.abc import Sequence

from google.protobuf.message import Message

from bennu.domain.app import App, QueryRule
from bennu.limits import QUERY_BYTES, REPLY_TIMEOUT_MS
from bennu.wire.partitioning import partition_of
from bennu_cserver.command_loop import Partition
from bennu_cserver.member import Member
from bennu_cserver.replies import UNKNOWN, overloaded, reply_of
from bennu_cserver.submission import ANYBODY, Caller, Prepared, Reply, Submission

Answered = tuple[Sequence[Reply], str]
"""Replies in the order of the commands, and the position token that makes them true; empty if there is none."""


class Unsettled(Exception):
    """No answer became durable; `reply` says what to say instead."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class Routes:
    """The partitions of this process."""

    def __init__(self, app: App, members: Sequence[Member]) -> None:
        self.app = app
        self._members = members
        self.topics = frozenset(member.topic for member in members)

    def partition_of(self, command: Prepared) -> int:
        """Number of the partition of a command that was prepared for deciding."""
        assert command.rule is not None
        assert command.message is not None
        return partition_of(command.rule.key(command.message), len(self._members))

    async def submit(
        self, number: int, commands: Sequence[Prepared], size_bytes: int, *, caller: Caller = ANYBODY
    ) -> Answered:
        """Have commands of one partition decided; returns when the answers are durable, or unknown after a while."""
        try:
            submission, token = await self._settled(
                self._members[number].partition, commands, size_bytes, caller=caller
            )
        except Unsettled as unsettled:
            return [unsettled.reply] * len(commands), ""
        return submission.replies, token

    async def ask(self, rule: QueryRule, query: Message, *, linearizable: bool) -> tuple[Reply, str]:
        """Answer from memory, once all that the answer saw is durable.

        `linearizable`: also once a batch first sent after this call is, which proves that nobody else led meanwhile.
        """
        partition = self._members[partition_of(rule.key(query), len(self._members))].partition
        if partition is None:
            return UNKNOWN, ""
        answer = partition.fold.answer(rule, query)
        partition.replica.open.forced |= linearizable
        try:
            _, token = await self._settled(partition, (), QUERY_BYTES)
        except Unsettled as unsettled:
            return unsettled.reply, ""
        return reply_of(answer.outcome, answer.answer), token

    async def _settled(
        self, partition: Partition | None, commands: Sequence[Prepared], size_bytes: int, *, caller: Caller = ANYBODY
    ) -> tuple[Submission, str]:
        """The commands with their replies, and the position that makes them true.  Raises `Unsettled`."""
        if partition is None or partition.stopping:  # what goes on coming must not keep it from stopping
            raise Unsettled(UNKNOWN)
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def done(_: Submission, batch_no: int) -> None:
            if not waiting.done():  # the caller may have given up
                waiting.set_result(batch_no)

        submission = Submission(commands, done, caller=caller)
        submission.bytes = size_bytes
        if not partition.submit(submission):
            raise Unsettled(overloaded(partition.retry_ms()))
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_MS / 1000):
                batch_no = await waiting
        except TimeoutError:
            raise Unsettled(UNKNOWN) from None
        if batch_no < 0:
            raise Unsettled(UNKNOWN)
        return submission, f"{partition.replica.topic}:{batch_no}"
