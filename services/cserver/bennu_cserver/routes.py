"""From a command or query to the partition that takes it, and back with its answer."""

import asyncio
from collections.abc import Sequence

from google.protobuf.message import Message

from bennu.domain.aggregate import Rejection
from bennu.domain.app import App, QueryRule
from bennu.limits import REPLY_TIMEOUT_MS
from bennu.replica.fold import REJECTED, rejection_bytes
from bennu.wire.partitioning import partition_of
from bennu_cserver.member import Member
from bennu_cserver.replies import OVERLOADED, UNKNOWN, reply_of
from bennu_cserver.submission import Prepared, Reply, Submission

Answered = tuple[Sequence[Reply], str]
"""Replies in the order of the commands, and the position token that makes them true; empty if there is none."""


class Routes:
    """The partitions of this process."""

    def __init__(self, app: App, members: Sequence[Member]) -> None:
        self.app = app
        self._members = members
        self.topics = frozenset(member.events_topic for member in members)

    def partition_of(self, command: Prepared) -> int:
        """Number of the partition of a command that was prepared for deciding."""
        assert command.rule is not None
        assert command.message is not None
        return partition_of(command.rule.key(command.message), len(self._members))

    async def submit(self, number: int, commands: Sequence[Prepared], size_bytes: int) -> Answered:
        """Have commands of one partition decided; returns when the answers are durable, or unknown after a while."""
        partition = self._members[number].partition
        if partition is None:
            return [UNKNOWN] * len(commands), ""
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def done(_: Submission, batch_no: int) -> None:
            if not waiting.done():  # the caller may have given up
                waiting.set_result(batch_no)

        submission = Submission(commands, done)
        submission.bytes = size_bytes
        if not partition.submit(submission):
            return [OVERLOADED] * len(commands), ""
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_MS / 1000):
                batch_no = await waiting
        except TimeoutError:
            return [UNKNOWN] * len(commands), ""
        return submission.replies, f"{partition.replica.topic}:{batch_no}" if batch_no >= 0 else ""

    async def ask(self, rule: QueryRule, query: Message, *, linearizable: bool) -> tuple[Reply, str]:
        """Answer from memory, once all that the answer saw is durable.

        `linearizable`: also once a batch first sent after this call is, which proves that nobody else led meanwhile.
        """
        number = partition_of(rule.key(query), len(self._members))
        partition = self._members[number].partition
        if partition is None:
            return UNKNOWN, ""
        answer = partition.fold.answer(rule, query)
        partition.replica.open.forced |= linearizable
        _, token = await self.submit(number, (), 0)
        if not token:
            return UNKNOWN, ""
        if isinstance(answer, Rejection):
            return reply_of(REJECTED, rejection_bytes(*answer)), token
        return (0, answer.SerializeToString()), token
