"""Plausible mistakes in sharing partitions between processes; `mutants.py` has the list."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from google.protobuf.message import Message
from msgspec.structs import replace

from bennu.domain.app import QueryRule
from bennu.members.directory import Claim
from bennu.members.group import Group
from bennu.replica.fenced import FencedJournal, SteppedDown
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import Verdict, decode, encode
from bennu.replica.leader import Candidate, Replica
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu.v1.members_pb2 import Heartbeat
from bennu_cserver import local
from bennu_cserver.command_loop import Partition
from bennu_cserver.local import Answered, Unsettled
from bennu_cserver.replies import OVERLOADED, reply_of
from bennu_cserver.routes import Routes, Wanted
from bennu_cserver.submission import ANYBODY, Caller, Prepared, Reply

ABSORB, TAKE, ASK, UNTIL_SETTLED = Replica._absorb, FencedJournal.take, Routes.ask, Routes._until_settled

# --- leading


def memory_is_kept(self: Replica) -> None:
    self.leading = False


def never_steps_down(self: Replica, verdict: Verdict, record: EpochStart | EventBatch, where: str) -> None:
    if self.leading and isinstance(record, EpochStart):
        self.state.begin_epoch(record, where)
    elif not self.leading:
        ABSORB(self, verdict, record, where)


def own_term_goes_on(self: FencedJournal, offset: int, body: bytes, own: bytes | None) -> bool:
    """A leader's own batch counts, whoever leads by now."""
    mine, record = (decode(own, where="") if own else None), decode(body, where="")
    if body == own and isinstance(mine, EventBatch) and isinstance(record, EventBatch):
        position = self.reader.position
        if record.epoch < position.epoch and record.batch_no == position.batch_no + 1:
            self.reader.position = position._replace(offset=offset + 1)
            return True
    return TAKE(self, offset, body, own)


async def leads_without_having_won(self: Replica, candidate: Candidate, *, named: bool = False) -> None:
    while not await self._caught_up():  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.02)
    start = self._epoch_start(candidate)
    try:
        await self.journal.append(encode(start), start)
    except SteppedDown:
        self.journal.reader.position = self.position._replace(epoch=start.epoch, term=start.term)
    self.state.begin_epoch(start, self.topic)
    self.lead()


def stays_with_whoever_leads(*_: object) -> str:
    return ""


def hears_only_itself(self: Group, beat: Heartbeat, now_us: int) -> None:
    if beat.life == self._life:
        self._turns.echo(now_us)


# --- answers


async def follower_answers_as_it_is(  # noqa: PLR0913 - as the real one
    self: Routes, number: int, rule: QueryRule, query: Message, *, batch_no: int, caller: Caller
) -> tuple[Reply, str]:
    replica, fold = _followed(self, number)
    found = fold.answer(rule, query)
    return reply_of(found.outcome, found.answer), replica.position.token


async def follower_names_what_was_asked_for(  # noqa: PLR0913 - as the real one
    self: Routes, number: int, rule: QueryRule, query: Message, *, batch_no: int, caller: Caller
) -> tuple[Reply, str]:
    replica, fold = _followed(self, number)
    found = fold.answer(rule, query)
    newest = max(replica.position.batch_no, batch_no)
    return reply_of(found.outcome, found.answer), f"{replica.topic}:{newest}"


def _followed(routes: Routes, number: int) -> tuple[Replica, AggregateFold]:
    followed = routes.members[number].followed
    assert followed is not None
    return followed


async def leader_answers_at_once(
    partition: Partition, rule: QueryRule, query: Message, *, linearizable: bool, **_: object
) -> tuple[Reply, str]:
    found = partition.fold.answer(rule, query)
    return reply_of(found.outcome, found.answer), partition.replica.position.token


async def any_read_is_linearizable(
    self: Routes, rule: QueryRule, query: Message, wanted: Wanted, *, caller: Caller = ANYBODY
) -> tuple[Reply, str]:
    return await ASK(self, rule, query, wanted._replace(linearizable=False), caller=caller)


# --- sending on


async def again_with_a_new_id(
    self: Routes, number: int, commands: Sequence[Prepared], size_bytes: int, *, caller: Caller
) -> Answered:
    attempts = 0

    def renamed() -> Sequence[Prepared]:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            return commands
        return [replace(command, command_id=f"{command.command_id}-{attempts}") for command in commands]

    return await self._until_settled(
        number,
        lambda partition: local.decide(partition, renamed(), size_bytes, caller=caller),
        lambda claim: self._peers.execute(claim.address, renamed(), caller),
        deadline_s=caller.deadline_s,
    )


async def unknown_elsewhere_is_refused(
    self: Routes,
    number: int,
    here: Callable[[Partition], Awaitable[tuple[Any, str]]],
    there: Callable[[Claim], Awaitable[tuple[Any, str]]],
    *,
    deadline_s: float,
) -> tuple[Any, str]:
    async def refused(claim: Claim) -> tuple[Any, str]:
        try:
            return await there(claim)
        except Unsettled as unsettled:
            raise Unsettled(OVERLOADED) from unsettled

    return await UNTIL_SETTLED(self, number, here, refused, deadline_s=deadline_s)
