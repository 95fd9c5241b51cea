"""Wrong versions of the product, each a plausible mistake, that the simulation must see through.

`python -m tests.simulation.mutants [N]` says which of the first N seeds catch each one; the seeds below come from it.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

from bennu.errors import AppendRefused, AppendUnknown, RecordBroken
from bennu.limits import APPEND_TIMEOUT_MS
from bennu.log.port import Log
from bennu.members.group import Group
from bennu.members.turns import Turns
from bennu.replica.batch import Decided, OpenBatch
from bennu.replica.clock import JournalClock
from bennu.replica.decision import REJECTED, Decision
from bennu.replica.fenced import Deposed, FencedJournal
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import JournalReader, Verdict, decode, digest_of
from bennu.replica.leader import Answer, Candidate, Replica
from bennu.replica.state import ReplicaState
from bennu.replica.window import ReplyWindow
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu_cserver import deciding, local
from bennu_cserver.command_loop import Partition
from bennu_cserver.replies import OVERLOADED
from bennu_cserver.routes import Routes
from bennu_cserver.submission import Submission
from tests.simulation import wrong_members as members
from tests.simulation.simulate import simulate

Patches = Sequence[AbstractContextManager[Any]]

INIT, TAKE_OVER, SEAL, TAKE = Replica.__init__, Replica.take_over, Replica.seal, FencedJournal.take
ADD, ADD_ALL, APPLY, JUDGE_EPOCH = OpenBatch.add, OpenBatch.add_all, AggregateFold.apply, JournalReader._epoch

# --- answers


def reply_before_append(self: Replica, answer: Answer) -> None:
    answer(self.position.batch_no)


def wait_for_what_is_in_flight_only(self: Replica, answer: Answer) -> None:
    number = self.position.batch_no + (self._sealed is not None)
    if number <= self.position.batch_no:
        answer(self.position.batch_no)
    else:
        self._waiters.append((number, answer))


def unknown_is_told_as_refused(self: Partition) -> None:
    self._inbox.clear()
    for submission in list(self._unanswered):
        submission.replies = [OVERLOADED] * len(submission.commands)
        self._finish(submission, 0)


def rejection_without_entry(self: OpenBatch, command: Decided, decision: Decision) -> None:
    if decision.outcome != REJECTED:
        ADD(self, command, decision)


def rejections_without_entries(
    self: OpenBatch, commands: Sequence[Decided], decisions: Sequence[Decision]
) -> Sequence[str]:
    kept = [pair for pair in zip(commands, decisions, strict=True) if pair[1].outcome != REJECTED]
    ADD_ALL(self, [command for command, _ in kept], [decision for _, decision in kept])
    return [command.command_id for command in commands]


# --- outcomes of appends


async def unknown_is_done(self: FencedJournal, body: bytes, record: EpochStart | EventBatch) -> bool:
    try:
        offset = await self._log.append(self.topic, body, timeout_ms=APPEND_TIMEOUT_MS)
    except AppendUnknown:
        return self.reader.judge(self.reader.position.offset, record, body) in (Verdict.EPOCH, Verdict.BATCH)
    except AppendRefused:
        return await self.read_to_tail(own=body)
    return await self.read(offset + 1, own=body)


async def receipt_is_done(self: FencedJournal, body: bytes, record: EpochStart | EventBatch) -> bool:
    try:
        offset = await self._log.append(self.topic, body, timeout_ms=APPEND_TIMEOUT_MS)
    except (AppendRefused, AppendUnknown):
        return await self.read_to_tail(own=body)
    self.reader.position = self.reader.position._replace(offset=offset)
    return self.reader.judge(offset, record, body) in (Verdict.EPOCH, Verdict.BATCH)


async def lead_on_after_unknown(self: Replica, candidate: Candidate, *, named: bool = False) -> None:
    led: set[tuple[str, int, int]] = vars(self.log).setdefault("led", set())
    while not await self._caught_up():  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.02)
    if (self.topic, self.position.epoch, self.position.term) in led:
        self.lead()
        return
    await TAKE_OVER(self, candidate, named=named)
    if self.leading:
        led.add((self.topic, self.position.epoch, self.position.term))


def begin_with_what_was_decided(self: Replica, log: Log, *given: Any, **named: Any) -> None:  # noqa: ANN401 - as the real one
    INIT(self, log, *given, **named)
    fold, lives = self.state.fold, vars(log).setdefault("lives", {})
    before, lives[self.topic] = lives.get(self.topic), self
    if before is not None and isinstance(fold, AggregateFold):
        fold.states = before.state.fold.states
        vars(self.state).update(vars(before.state), fold=fold)
        self.journal.reader = JournalReader(before.position)


# --- what the log says


def second_epoch_start(self: JournalReader, start: EpochStart, where: str) -> Verdict:
    if start.epoch == self.position.epoch:
        self.position = self.position._replace(term=start.term)
        return Verdict.EPOCH
    return JUDGE_EPOCH(self, start, where)


def batch_unchecked(self: JournalReader, batch: EventBatch, body: bytes, where: str) -> Verdict:
    if batch.epoch < self.position.epoch:
        return Verdict.VOID
    self.position = self.position._replace(
        batch_no=batch.batch_no, next_seq=batch.first_seq + len(batch.events), digest=digest_of(body)
    )
    return Verdict.BATCH


def old_epochs_count(self: JournalReader, batch: EventBatch, body: bytes, where: str) -> Verdict:
    if batch.batch_no <= self.position.batch_no:
        return Verdict.DUPLICATE
    return batch_unchecked(self, batch, body, where)


def own_by_number(self: FencedJournal, offset: int, body: bytes, own: bytes | None) -> bool:
    record, mine = decode(body, where=""), decode(own, where="") if own else None
    if isinstance(record, EventBatch) and isinstance(mine, EventBatch) and record.epoch == mine.epoch:
        return self.reader.judge(offset, record, body) is Verdict.BATCH
    return TAKE(self, offset, body, own)


def loser_forgets(self: FencedJournal, offset: int, body: bytes, own: bytes | None) -> bool:
    where = f"{self.topic}, offset {offset}"
    record = decode(body, where=where)
    verdict = self.reader.judge(offset, record, body)
    if verdict in (Verdict.VOID, Verdict.DUPLICATE):
        return False
    if body == own:
        return True
    if own is not None and verdict is Verdict.EPOCH:
        raise Deposed(where)
    self._absorb(verdict, record, where)
    return False


def apply_error_swallowed(self: AggregateFold, batch: EventBatch, where: str) -> None:
    try:
        APPLY(self, batch, where)
    except RecordBroken:
        return


# --- ids, positions, time


def position_after_its_effects(self: Replica) -> tuple[bytes, EventBatch]:
    late = vars(self).setdefault("late", {}) | self.open.inputs
    idle = not self.open.command_ids
    self.open.inputs = late if idle else {}
    vars(self)["late"] = {} if idle else late
    sealed = SEAL(self)
    self.open.forced = not idle
    return sealed


def number_unchecked(submission: Submission, replica: Replica) -> bool:
    replica.open.sources[submission.source] = submission.first_no + submission.next
    return True


def wall_time(self: JournalClock) -> int:
    return self._clock.wall_us()


def nothing(*_: object) -> None:
    return None


def anything(*_: object) -> bool:
    return True


class Mutant(NamedTuple):
    """What is wrong, a seed that showed it, and how the product is changed."""

    name: str
    seed: int
    patches: Callable[[], Patches]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The product is wrong within."""
        with ExitStack() as stack:
            for patch in self.patches():
                stack.enter_context(patch)
            yield


def _mutant(name: str, seed: int, *changes: tuple[object, str, Callable[..., Any]]) -> Mutant:
    return Mutant(name, seed, lambda: [mock.patch.object(place, of, wrong) for place, of, wrong in changes])


MUTANTS = (
    _mutant("reply before append", 0, (Replica, "answer_when_effective", reply_before_append)),
    _mutant(
        "wait only for the batch in flight", 0, (Replica, "answer_when_effective", wait_for_what_is_in_flight_only)
    ),
    _mutant("unknown is told as refused", 0, (Partition, "abandon", unknown_is_told_as_refused)),
    _mutant("a rejection is answered without an entry", 0, (OpenBatch, "add", rejection_without_entry)),
    _mutant("rejections are answered without entries", 0, (OpenBatch, "add_all", rejections_without_entries)),
    _mutant("unknown is treated as done", 0, (FencedJournal, "_attempt", unknown_is_done)),
    _mutant("the receipt's offset is not checked", 3, (FencedJournal, "_attempt", receipt_is_done)),
    _mutant(
        "unknown is treated as failed: other bytes get the number",
        1,
        (Replica, "take_over", lead_on_after_unknown),
        (FencedJournal, "take", own_by_number),
    ),
    _mutant("speculation is kept on stepping down", 0, (Replica, "__init__", begin_with_what_was_decided)),
    _mutant("a second EpochStart of an epoch is effective", 3, (JournalReader, "_epoch", second_epoch_start)),
    _mutant("a batch's number and chain are not checked", 0, (JournalReader, "_batch", batch_unchecked)),
    _mutant("batches of old epochs count", 3, (JournalReader, "_batch", old_epochs_count)),
    _mutant("an apply error is swallowed", 4, (AggregateFold, "apply", apply_error_swallowed)),
    _mutant("ids are not remembered", 0, (ReplyWindow, "get", nothing)),
    _mutant("ids are taken for new at a glance", 0, (ReplyWindow, "all_new", anything)),
    _mutant("ids are not remembered after a replay", 0, (ReplicaState, "_keep", nothing)),
    _mutant("the input position follows its effects", 5, (Replica, "seal", position_after_its_effects)),
    _mutant("a stream's number is not checked", 1, (deciding, "is_next", number_unchecked)),
    _mutant("a compensation does not ask whether", 0, (deciding, "why_not_undone", nothing)),
    _mutant("journaled time is wall time", 0, (JournalClock, "now_us", wall_time)),
    _mutant("memory is kept on stepping down", 0, (Replica, "step_aside", members.memory_is_kept)),
    _mutant(
        "a leader never steps down",
        1,
        (Replica, "_absorb", members.never_steps_down),
        (FencedJournal, "take", members.own_term_goes_on),
    ),
    _mutant("a candidate leads that has not won", 0, (Replica, "take_over", members.leads_without_having_won)),
    _mutant("the preferred node never gets its partition", 0, (Turns, "heir", members.stays_with_whoever_leads)),
    _mutant("nobody is told that its name was taken", 53, (Group, "_hear_own_name", members.hears_only_itself)),
    _mutant("any read is linearizable", 3, (Routes, "ask", members.any_read_is_linearizable)),
    _mutant("a follower answers as it is", 0, (Routes, "_follower_answer", members.follower_answers_as_it_is)),
    _mutant(
        "a follower names a position that it has not reached",
        0,
        (Routes, "_follower_answer", members.follower_names_what_was_asked_for),
    ),
    _mutant("a leader answers before that is effective", 0, (local, "answer", members.leader_answers_at_once)),
    _mutant("again elsewhere, with a new id", 0, (Routes, "_submit_elsewhere", members.again_with_a_new_id)),
    _mutant(
        "unknown elsewhere is told as refused", 1, (Routes, "_until_settled", members.unknown_elsewhere_is_refused)
    ),
)

RARE = (_mutant("a candidate that lost forgets the winner's epoch", 33, (FencedJournal, "take", loser_forgets)),)
"""Caught by too few seeds for a short run, so by thorough ones only; `test_lost_candidacy` looks for it."""


def main(seeds: int) -> None:
    """Print for each mutant how many of the first seeds catch it, the first few, and what the first one says."""
    for mutant in MUTANTS + RARE:
        with mutant.at_work():
            caught = {seed: found for seed in range(seeds) if (found := simulate(seed).violation)}
        first = next(iter(caught.values()), "NEVER CAUGHT")
        print(f"{len(caught):4} of {seeds}  {mutant.name}: {list(caught)[:5]}  {first[:110]}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
