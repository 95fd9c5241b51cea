"""Commands and queries for a partition that this process leads: into its line, and back with an answer."""

from collections.abc import Sequence

from google.protobuf.message import Message

from bennu.domain.app import QueryRule
from bennu.limits import QUERY_BYTES
from bennu_cserver import deciding
from bennu_cserver.command_loop import Partition
from bennu_cserver.deciding import Tried
from bennu_cserver.replies import UNKNOWN, overloaded, reply_of
from bennu_cserver.submission import ANYBODY, Caller, Prepared, Reply, Submission

Answered = tuple[Sequence[Reply], str]
"""Replies in the order of the commands, and the position token that makes them true; empty if there is none."""


class Unsettled(Exception):
    """No answer became durable; `reply` says what to say instead."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


async def decide(
    partition: Partition, commands: Sequence[Prepared], size_bytes: int, *, caller: Caller = ANYBODY
) -> Answered:
    """Have commands decided; returns when the answers are durable.  Raises `Unsettled`."""
    submission, token = await _settled(partition, commands, size_bytes, caller=caller)
    return submission.replies, token


async def answer(
    partition: Partition, rule: QueryRule, query: Message, *, linearizable: bool, caller: Caller = ANYBODY
) -> tuple[Reply, str]:
    """Answer from memory, once all that the answer saw is durable.  Raises `Unsettled`.

    `linearizable`: also once a batch first sent after this call is, which proves that nobody else led meanwhile.
    """
    found = partition.fold.answer(rule, query)
    partition.replica.open.forced |= linearizable
    token = await effective(partition, caller=caller)
    return reply_of(found.outcome, found.answer), token


async def try_out(partition: Partition, command: Prepared, *, caller: Caller = ANYBODY) -> tuple[Tried, str]:
    """Try a command against the state in memory, once that is durable.  Raises `Unsettled`."""
    replica = partition.replica
    tried = deciding.try_out(command, partition.fold, replica.state.window, recorded_at_us=replica.tick())
    return tried, await effective(partition, caller=caller)


async def effective(partition: Partition, *, caller: Caller = ANYBODY) -> str:
    """Once all that is in memory now is durable: the position where that stands.  Raises `Unsettled`."""
    return (await _settled(partition, (), QUERY_BYTES, caller=caller))[1]


async def _settled(
    partition: Partition, commands: Sequence[Prepared], size_bytes: int, *, caller: Caller = ANYBODY
) -> tuple[Submission, str]:
    """The commands with their replies, and the position that makes them true.  Raises `Unsettled`."""
    if partition.stopping:  # what goes on coming must not keep it from stopping
        raise Unsettled(UNKNOWN)
    waiting = partition.waits.begin()

    def done(_: Submission, batch_no: int) -> None:
        if waiting.done():  # the caller has given up
            return
        if caller.path is not None and batch_no >= 0:
            caller.path.effective(partition.replica.sealing)
        waiting.set_result(batch_no)

    submission = Submission(commands, done, caller=caller)
    submission.bytes = size_bytes
    if caller.path is not None:
        caller.path.lined()
    if not partition.submit(submission):
        waiting.cancel()  # else it would be kept until its time is over, as one that waits is
        raise Unsettled(overloaded(partition.retry_ms()))
    batch_no = await waiting
    if batch_no < 0:
        raise Unsettled(UNKNOWN)
    return submission, f"{partition.replica.topic}:{batch_no}"
