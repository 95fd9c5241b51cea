"""What becomes of one command, given the state of its partition."""

from collections.abc import Sequence
from typing import cast

from bennu.ops.answers import OK
from bennu.replica.decision import REJECTED, Asked, Decision, refuse
from bennu.replica.fold import AggregateFold
from bennu.replica.leader import Replica
from bennu.replica.window import ReplyWindow
from bennu.v1.stream_pb2 import DryRun
from bennu_cserver.numbered import is_next, why_not_undone
from bennu_cserver.replies import ALREADY_EXISTS, FORGOTTEN, reply_of
from bennu_cserver.submission import Prepared, Reply, Submission


def answered_before(command: Prepared, window: ReplyWindow, *, numbered: bool) -> Reply | None:
    """The original reply to its id, or why there is none; None for a new id.

    A numbered one is never forgotten, unless it says itself that it was sent before.
    """
    known = window.get(command.command_id)
    if known is not None:
        return reply_of(known.outcome, known.reply) if known.digest == command.digest else ALREADY_EXISTS
    forgotten = command.repeats or (not numbered and window.forgotten(command.command_id))
    return FORGOTTEN if forgotten else None


Tried = tuple[Reply, DryRun]
"""What a command would have been answered, and the events that it would have written."""


def decide(command: Prepared, fold: AggregateFold, window: ReplyWindow, *, recorded_at_us: int) -> Decision:
    """By the domain's rule, which evolves the state; or a refusal, of what can't be decided or has nothing to undo."""
    if command.rule is None:
        return refuse(*command.refusal)
    if command.compensates and (refusal := why_not_undone(command.compensates, window)):
        return refuse(*refusal)
    return fold.decide_all((cast(Asked, command),), recorded_at_us)[0]


def decide_one(command: Prepared, fold: AggregateFold, replica: Replica) -> Reply:
    """Decide a command that is not known into the open batch; its reply."""
    window = replica.state.window
    decision = decide(command, fold, window, recorded_at_us=replica.tick())
    replica.open.add(command, decision)
    window.add(command.command_id, command.digest, outcome=decision.outcome, reply=decision.answer)
    return reply_of(decision.outcome, decision.answer)


def all_new(commands: Sequence[Prepared], replica: Replica) -> bool:
    """Whether there are any, and none was known or may have been forgotten."""
    return bool(commands) and replica.state.window.all_new([command.command_id for command in commands])


def decide_new(commands: Sequence[Prepared], fold: AggregateFold, replica: Replica) -> list[Reply]:
    """Decide commands of callers, none of which was known, into the open batch until it is full; their replies."""
    batch, window = replica.open, replica.state.window
    fitting, most_bytes = batch.room_for(commands)
    decisions = fold.decide_all(cast(Sequence[Asked], fitting), replica.tick(), most_bytes=most_bytes)
    decided = fitting[: len(decisions)]
    window.add_all(batch.add_all(decided, decisions), decided, decisions)
    return [(OK, each.answer) if each.outcome < REJECTED else reply_of(each.outcome, each.answer) for each in decisions]


def decide_calls(
    calls: Sequence[Submission], fold: AggregateFold, replica: Replica, *, now_s: float
) -> Sequence[Submission]:
    """Decide callers' single commands together, until the open batch is full; which of them are decided.

    None is where one has come too late, or may be known: then each has to be looked at.
    """
    commands = [call.commands[0] for call in calls]
    if min(call.caller.deadline_s for call in calls) <= now_s or not all_new(commands, replica):
        return ()
    replies = decide_new(commands, fold, replica)
    for call, reply in zip(calls, replies, strict=False):
        call.replies.append(reply)
        call.next = 1
    return calls[: len(replies)]


def decide_part(
    submission: Submission, commands: Sequence[Prepared], *, fold: AggregateFold, replica: Replica, late: Reply | None
) -> None:
    """The next ones of a submission, each: known already, refused, come too late, or decided; until the batch is full.

    `late`: what those are told that are not known, where they have come too late.
    """
    numbered = bool(submission.source)
    # Those of a log are looked at one by one: they may say of themselves that they were sent before.
    if late is None and not submission.input_topic and all_new(commands, replica):
        submission.replies += decide_new(commands, fold, replica)
        submission.next = len(submission.replies)
        return
    for command in commands:
        if replica.open.full:
            return
        if not numbered or is_next(submission, replica):
            known = answered_before(command, replica.state.window, numbered=numbered)
            submission.replies.append(known or late or decide_one(command, fold, replica))
        submission.next += 1


def try_out(command: Prepared, fold: AggregateFold, window: ReplyWindow, *, recorded_at_us: int) -> Tried:
    """As `answered_before` and `decide` would have it, and nothing is changed."""
    known = answered_before(command, window, numbered=False)
    if known is not None:
        return known, DryRun()
    decision = fold.try_out(cast(Asked, command), recorded_at_us)  # what a client may try has a rule
    return reply_of(decision.outcome, decision.answer), DryRun(types=decision.types, events=decision.events)
