"""From a command or query to whoever leads its partition, here or elsewhere, and back with its answer.

Any process takes any command.  What has no known outcome is asked again of the next leader with the same command id,
for as long as its caller waits: an id is decided once, so repeating it is safe.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message
from grpc import StatusCode

from bennu.domain.app import App, QueryRule
from bennu.limits import (
    ELSEWHERE_COMMANDS,
    LEADER_WAIT_MS,
    REPLY_TIMEOUT_MS,
    RETRY_FIRST_MS,
    RETRY_HINT_MS,
)
from bennu.members.directory import Claim
from bennu.members.group import Group
from bennu.members.limits import NAMED_WAIT_MS
from bennu.ops.answers import status
from bennu.v1.members_pb2 import Seat
from bennu.v1.stream_pb2 import DryRun
from bennu.wire.partitioning import partition_of
from bennu_cserver import local
from bennu_cserver.command_loop import Partition
from bennu_cserver.deciding import Tried
from bennu_cserver.local import Answered, Unsettled
from bennu_cserver.member import Member
from bennu_cserver.peers import Peers
from bennu_cserver.replies import UNKNOWN, overloaded, reply_of
from bennu_cserver.shares import Shares
from bennu_cserver.submission import ANYBODY, Caller, Prepared, Reply

T = TypeVar("T")


class Wanted(NamedTuple):
    """What a query may be answered from."""

    linearizable: bool = False
    batch_no: int = 0
    """Not before this batch was read as effective."""


ANYTHING = Wanted()


class Routes:
    """The partitions of an app, as this process reaches them."""

    def __init__(self, app: App, members: Sequence[Member], *, group: Group, peers: Peers) -> None:
        self.app = app
        self.members = members
        self.topics = frozenset(member.topic for member in members)
        self._group = group
        self._peers = peers
        group.tell_by(peers.gave_up)
        self._elsewhere = Shares(ELSEWHERE_COMMANDS)
        """Commands that wait for another process, or for one to lead."""
        self._changes: dict[int, asyncio.Task[None]] = {}
        self._told = [0] * len(members)
        """The newest batch of each partition that a caller of this process was told of: it reads its own writes."""

    def partition_of(self, command: Prepared) -> int:
        """Number of the partition of a command that was prepared for deciding."""
        return partition_of(command.key, len(self.members))

    def partitions_of(self, commands: Sequence[Prepared]) -> Sequence[int]:
        """The same of each of them."""
        return list(map(self.partition_of, commands)) if len(self.members) > 1 else [0] * len(commands)

    def topic_of(self, key: str) -> str:
        """The journal of the partition of this key."""
        return self.members[partition_of(key, len(self.members))].topic

    def led(self, number: int) -> Partition | None:
        """The partition, if this process leads it."""
        return self.members[number].partition

    def gave_up_elsewhere(self, seat: Seat) -> None:
        """Another process has given up this leadership."""
        self._group.heard_release(seat)

    async def soon_led(self, number: int) -> Partition:
        """The partition, once this process leads it.  Raises `Unsettled` if that takes too long.

        Another one that sends something on may have heard earlier that this one was named to lead.
        """
        partition = await self.members[number].soon_leads(NAMED_WAIT_MS / 1000)
        if partition is None:
            raise Unsettled(UNKNOWN)
        return partition

    async def soon_led_for(self, key: str) -> Partition:
        """The same for the partition of this key."""
        return await self.soon_led(partition_of(key, len(self.members)))

    async def submit(
        self, number: int, commands: Sequence[Prepared], size_bytes: int, *, caller: Caller = ANYBODY
    ) -> Answered:
        """Have commands of one partition decided; returns when the answers are durable, or unknown after a while."""
        try:
            partition = self.led(number)
            if partition is not None:
                try:
                    return await local.decide(partition, commands, size_bytes, caller=caller)
                except Unsettled as unsettled:
                    if unsettled.reply is not UNKNOWN:
                        raise
            return await self._submit_elsewhere(number, commands, size_bytes, caller=caller)
        except Unsettled as unsettled:
            return [unsettled.reply] * len(commands), ""

    async def try_out(self, command: Prepared, *, caller: Caller = ANYBODY) -> tuple[Tried, str]:
        """What would become of a command, and the position of the state that says so; nothing is changed."""
        try:
            return await self._until_settled(
                self.partition_of(command),
                lambda partition: local.try_out(partition, command, caller=caller),
                lambda claim: self._peers.try_out(claim.address, command, caller),
                deadline_s=caller.deadline_s,
            )
        except Unsettled as unsettled:
            return (unsettled.reply, DryRun()), ""

    async def _submit_elsewhere(
        self, number: int, commands: Sequence[Prepared], size_bytes: int, *, caller: Caller
    ) -> Answered:
        if self._elsewhere.full(caller.client):
            raise Unsettled(overloaded(RETRY_HINT_MS))
        with self._elsewhere.held(caller.client, len(commands)):
            return await self._until_settled(
                number,
                lambda partition: local.decide(partition, commands, size_bytes, caller=caller),
                lambda claim: self._peers.execute(claim.address, commands, caller),
                deadline_s=caller.deadline_s,
            )

    async def ask(
        self, rule: QueryRule, query: Message, wanted: Wanted = ANYTHING, *, caller: Caller = ANYBODY
    ) -> tuple[Reply, str]:
        """Answer a query: from here where that is allowed, else by the leader."""
        number = partition_of(rule.key(query), len(self.members))
        try:
            if self.led(number) is None and not wanted.linearizable and self.members[number].followed is not None:
                return await self._follower_answer(number, rule, query, batch_no=wanted.batch_no, caller=caller)
            reply, token = await self._until_settled(
                number,
                lambda partition: local.answer(partition, rule, query, linearizable=wanted.linearizable, caller=caller),
                lambda claim: self._peers.ask(claim.address, query, linearizable=wanted.linearizable, caller=caller),
                deadline_s=caller.deadline_s,
            )
        except Unsettled as unsettled:
            return unsettled.reply, ""
        if token and batch_no_of(token) < wanted.batch_no:  # a leader holds all that was ever acknowledged
            return _behind(token, wanted.batch_no), token
        return reply, token

    async def _follower_answer(
        self, number: int, rule: QueryRule, query: Message, *, batch_no: int, caller: Caller
    ) -> tuple[Reply, str]:
        member = self.members[number]
        least = max(batch_no, self._told[number])
        patience_s = min(LEADER_WAIT_MS / 1000, caller.deadline_s - asyncio.get_running_loop().time())
        await member.reached(least, patience_s)
        if member.followed is None:
            return UNKNOWN, ""
        replica, fold = member.followed
        if replica.position.batch_no < least:
            return _behind(replica.position.token, least), ""
        found = fold.answer(rule, query)
        return reply_of(found.outcome, found.answer), replica.position.token

    async def _until_settled(
        self,
        number: int,
        here: Callable[[Partition], Awaitable[tuple[T, str]]],
        there: Callable[[Claim], Awaitable[tuple[T, str]]],
        *,
        deadline_s: float,
    ) -> tuple[T, str]:
        """Ask whoever leads, and the next one when that gave no answer.  Raises `Unsettled`."""
        now_s = asyncio.get_running_loop().time
        until_s = min(deadline_s, now_s() + REPLY_TIMEOUT_MS / 1000)
        led_until_s, pause_ms = now_s(), RETRY_FIRST_MS
        while now_s() < until_s and now_s() < led_until_s + LEADER_WAIT_MS / 1000:
            partition, claim = self._leader(number)
            try:
                if partition is not None:
                    led_until_s = now_s()
                    return await here(partition)
                if claim is not None:
                    led_until_s = now_s()
                    result = await self._while_it_leads(number, claim, there, until_s=until_s)
                    self._told[number] = max(self._told[number], batch_no_of(result[1]))
                    return result
            except Unsettled as unsettled:
                if unsettled.reply is not UNKNOWN:
                    raise
                led_until_s = now_s()  # an attempt may take longer than anybody waits for a leader
            if claim is None and self._group.leaving:
                break
            if self._leader(number) == (partition, claim):
                patience_s = pause_ms / 1000 * (1 + random.random())  # noqa: S311 - jitter
                await asyncio.wait((self._change(number),), timeout=min(until_s - now_s(), patience_s))
                pause_ms = min(2 * pause_ms, RETRY_HINT_MS)
        raise Unsettled(UNKNOWN)

    def _leader(self, number: int) -> tuple[Partition | None, Claim | None]:
        """The partition if it is led here, and who else leads it, as far as is known."""
        partition = self.led(number)
        return (None if partition is None or partition.stopping else partition), self._group.leader(number)

    def _change(self, number: int) -> asyncio.Task[None]:
        """Ends when another one leads.  One task for all who wait: they may be thousands, and heartbeats are many."""
        found = self._changes.get(number)
        if found is None or found.done():
            found = self._changes[number] = asyncio.create_task(self._until_changed(number))
        return found

    async def _until_changed(self, number: int) -> None:
        before = self._leader(number)
        while self._leader(number) == before:
            await self._group.wait_changed(LEADER_WAIT_MS / 1000)

    async def _while_it_leads(
        self, number: int, claim: Claim, there: Callable[[Claim], Awaitable[tuple[T, str]]], *, until_s: float
    ) -> tuple[T, str]:
        """One attempt at another process; given up when it is known to lead no more.  Raises `Unsettled`."""
        call = asyncio.ensure_future(there(claim))
        try:
            left_s = until_s - asyncio.get_running_loop().time()
            if self._leader(number)[1] == claim:
                change = self._change(number)
                await asyncio.wait((call, change), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                raise Unsettled(UNKNOWN)
            return call.result()
        finally:
            call.cancel()


def batch_no_of(token: str) -> int:
    """The number in a position token; 0 for none."""
    return int(token.rpartition(":")[2] or 0)


def _behind(token: str, batch_no: int) -> Reply:
    text = f"stands at {token}, before batch {batch_no}"
    return status(StatusCode.UNAVAILABLE, "BEHIND", text, retry_ms=RETRY_HINT_MS)
