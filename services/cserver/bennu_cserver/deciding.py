"""What becomes of one command, given the state of its partition."""

from bennu.domain.aggregate import Context
from bennu.replica.fold import AggregateFold, Decision, refuse
from bennu.replica.window import ReplyWindow
from bennu.v1.stream_pb2 import DryRun
from bennu_cserver.numbered import why_not_undone
from bennu_cserver.replies import ALREADY_EXISTS, FORGOTTEN, reply_of
from bennu_cserver.submission import Prepared, Reply


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


def decide(
    command: Prepared, fold: AggregateFold, window: ReplyWindow, *, recorded_at_us: int, keep: bool = True
) -> Decision:
    """By the domain's rule, which evolves the state; or a refusal, of what can't be decided or has nothing to undo."""
    rule, message = command.rule, command.message
    if rule is None or message is None:
        return refuse(*command.refusal)
    if command.compensates and (refusal := why_not_undone(command.compensates, window)):
        return refuse(*refusal)
    return fold.decide(rule, message, Context(command.command_id, command.origin.actor, recorded_at_us), keep=keep)


def try_out(command: Prepared, fold: AggregateFold, window: ReplyWindow, *, recorded_at_us: int) -> Tried:
    """As `answered_before` and `decide` would have it, and nothing is changed."""
    known = answered_before(command, window, numbered=False)
    if known is not None:
        return known, DryRun()
    decision = decide(command, fold, window, recorded_at_us=recorded_at_us, keep=False)
    return reply_of(decision.outcome, decision.answer), DryRun(types=decision.types, events=decision.events)
