"""Numbered streams: what a saga sends to a command log counts once, whatever is sent twice, late or by whom."""

import structlog

from bennu.errors import JournalBroken
from bennu.ops import topics
from bennu.replica.decision import REJECTED
from bennu.replica.leader import Replica
from bennu.replica.window import ReplyWindow
from bennu.wire.reasons import NOTHING_TO_COMPENSATE, OUTCOME_FORGOTTEN
from bennu_cserver.submission import Submission

logger = structlog.get_logger()


def is_next(submission: Submission, replica: Replica) -> bool:
    """Whether the command to be decided next is the next of its stream; one that was taken before is dropped.

    Raises `JournalBroken` for a number too high: commands are missing, and order is what compensation relies on.  Those
    of another app must not stop this one for good: its stream goes on, and what would undo one of the missing ones is
    answered `outcome_forgotten`.
    """
    source, number = submission.source, submission.first_no + submission.next
    last = replica.open.sources.get(source) or replica.state.sources.get(source, 0)
    if number > last + 1:
        where = f"{submission.input_topic}, offset {submission.input_offset - 1}"
        missing = f"{where}: command {number} of stream {source} follows {last}; commands are missing"
        if topics.app_of(source) == topics.app_of(replica.topic):
            raise JournalBroken(f"{missing}, so nothing further may be decided")
        logger.error("another app's commands were passed over or lost", problem=missing)
    if number > last:
        replica.tick()  # a batch has the time of what comes first in it, and after this it is not empty any more
        replica.open.sources[source] = number
    return number > last


def why_not_undone(command_id: str, window: ReplyWindow) -> tuple[str, str] | None:
    """Why a compensation of this command must have no effect, or None if the command was carried out.

    A stream's order puts the command before its compensation, so one without a reply was decided and its reply evicted.
    """
    known = window.get(command_id)
    if known is None:
        return OUTCOME_FORGOTTEN, f"whether {command_id} was carried out is no longer known here"
    if known.outcome >= REJECTED:
        return NOTHING_TO_COMPENSATE, f"{command_id} was not carried out"
    return None
