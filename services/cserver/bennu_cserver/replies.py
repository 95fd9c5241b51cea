"""What clients are told of commands: replies as gRPC codes and google.rpc.Status bytes."""

from functools import lru_cache

from grpc import StatusCode

from bennu.limits import RETRY_HINT_MS
from bennu.ops.answers import OK, Reply, status
from bennu.replica.decision import FAILED, REJECTED
from bennu.v1.command_pb2 import Rejection


def reply_of(outcome: int, reply: bytes) -> Reply:
    """The answer to a decided command, from what the journal says of it."""
    if outcome < REJECTED:
        return OK, reply
    return _refusal(outcome, reply)


@lru_cache(maxsize=4096)
def _refusal(outcome: int, reply: bytes) -> Reply:
    rejection = Rejection.FromString(reply)
    code = StatusCode.INTERNAL if outcome == FAILED else StatusCode.FAILED_PRECONDITION
    return status(code, rejection.reason, rejection.message or rejection.reason)


ALREADY_EXISTS = status(
    StatusCode.ALREADY_EXISTS,
    "COMMAND_ID_REUSED",
    "this command id was used for another command; a new command needs a new id",
)
FORGOTTEN = status(
    StatusCode.UNKNOWN,
    "OUTCOME_FORGOTTEN",
    "this command id is older than the replies that are kept: whether it was carried out is not known here, "
    "and it will not be decided again; look at the state before sending a new command",
)
UNKNOWN = status(
    StatusCode.UNAVAILABLE,
    "OUTCOME_UNKNOWN",
    "the partition has no leader here now; the command may or may not be carried out: repeat it with the same id",
    retry_ms=RETRY_HINT_MS,
)
NOT_DECIDED = status(
    StatusCode.DEADLINE_EXCEEDED,
    "NOT_DECIDED",
    "the time that the caller gave was over before this command's turn came: it was not decided, and its id is free",
)


def overloaded(retry_ms: int = RETRY_HINT_MS) -> Reply:
    """Refused for want of room; `retry_ms`: when there may be some."""
    text = "too many commands are waiting, of this client or of all; none of these was taken"
    return status(StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", text, retry_ms=retry_ms)


OVERLOADED = overloaded()
