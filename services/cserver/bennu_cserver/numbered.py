"""Numbered streams: what a saga sends to a command log counts once, whatever is sent twice, late or by whom."""

from bennu.errors import JournalBroken
from bennu.replica.fold import REJECTED
from bennu.replica.leader import Replica
from bennu.replica.window import ReplyWindow
from bennu_cserver.submission import Submission


def is_next(submission: Submission, replica: Replica) -> bool:
    """Whether the command to be decided next is the next of its stream; one that was taken before is dropped.

    Raises `JournalBroken` for a number too high: commands are missing, and order is what compensation relies on.
    """
    source, number = submission.source, submission.first_no + submission.next
    last = replica.open.sources.get(source) or replica.state.sources.get(source, 0)
    if number > last + 1:
        raise JournalBroken(
            f"{submission.input_topic}, offset {submission.input_offset - 1}: command {number} of stream {source} "
            f"follows {last}; commands are missing, so nothing further may be decided"
        )
    if number == last + 1:
        replica.open.sources[source] = number
    return number == last + 1


def why_not_undone(command_id: str, window: ReplyWindow) -> tuple[str, str] | None:
    """Why a compensation of this command must have no effect, or None if the command was carried out.

    A stream's order puts the command before its compensation, so one without a reply was decided and its reply evicted.
    """
    known = window.get(command_id)
    if known is None:
        return "outcome_forgotten", f"whether {command_id} was carried out is no longer known here"
    if known.outcome >= REJECTED:
        return "nothing_to_compensate", f"{command_id} was not carried out"
    return None
