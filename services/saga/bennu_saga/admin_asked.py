"""What operators ask, checked: each fault is named by its field, with what would be right."""

from collections.abc import Sequence
from typing import NoReturn

from bennu.errors import BennuError
from bennu.limits import MAX_ACTOR_BYTES, MAX_REASON_BYTES
from bennu.v1.saga_admin_pb2 import ListSagas, OperateSagas, SagaDecision, SagaFilter, SagaTarget
from bennu.v1.saga_pb2 import SagaOperation
from bennu.wire.commands import CONTROL_CHARACTER
from bennu_saga.definitions import Definitions
from bennu_saga.limits import OPERATOR_REQUESTS, SAGAS_LIMIT
from bennu_saga.operations import Operation
from bennu_saga.state import COMPENSATE, RESOLVE, RETRY, SKIP

Place = tuple[int, str]
"""When a saga started, and its id: the order of lists."""
FIRST: Place = (0, "")
OPERATIONS = (RETRY, SKIP, COMPENSATE, RESOLVE)


class Invalid(BennuError):
    """What was asked makes no sense."""

    def __init__(self, text: str, field: str) -> None:
        super().__init__(text)
        self.field = field


def decision_of(asked: SagaDecision) -> Operation:
    """Raises `Invalid`."""
    if asked.operation not in OPERATIONS:
        names = ", ".join(SagaOperation.Name(operation) for operation in OPERATIONS)
        raise Invalid(f"no operation of this build; there are {names}", "operation")
    if bool(asked.step) != (asked.operation == SKIP):
        raise Invalid("a skip names its step, and nothing else names one", "step")
    for field, text, most in (("actor", asked.actor, MAX_ACTOR_BYTES), ("reason", asked.reason, MAX_REASON_BYTES)):
        _check_text(field, text, most)
    return Operation(asked.operation, asked.actor, asked.reason, asked.step)


def _check_text(field: str, text: str, most: int) -> None:
    if not text.strip():
        raise Invalid("a decision has an actor and a reason, which stay in the journal; this one is empty", field)
    if len(text.encode()) > most:
        raise Invalid(f"it has {len(text.encode())} bytes; at most {most} are taken", field)
    if CONTROL_CHARACTER.search(text):
        raise Invalid("it has control characters, such as line ends, which not every reader of a journal takes", field)


def check_filter(asked: SagaFilter, definitions: Definitions) -> None:
    """Raise `Invalid` for a name that no saga of this app has: a misspelt one would find nothing, which reassures."""
    kinds = [(type(saga).__qualname__, saga.version) for saga in definitions.app.sagas]
    declared = [found for kind in kinds if (found := definitions.get(*kind))]
    names = sorted({each.name for each in declared})
    if asked.definition and asked.definition not in names:
        _no("saga", asked.definition, names, field="definition")
    steps = sorted({step.name for each in declared if asked.definition in ("", each.name) for step in each.plan})
    if asked.failing_step and asked.failing_step not in steps:
        _no("step", asked.failing_step, steps, field="failing_step")


def _no(what: str, name: str, there: Sequence[str], *, field: str) -> NoReturn:
    raise Invalid(f"no {what} is called {name!r}; there are {', '.join(there)}", field)


def limit_of(asked: ListSagas) -> int:
    """Of a page."""
    return min(asked.limit or SAGAS_LIMIT, OPERATOR_REQUESTS)


def targets_of(asked: OperateSagas) -> list[SagaTarget]:
    """The sagas that are named; none: the filter says which.  Raises `Invalid`."""
    if bool(asked.targets) == asked.HasField("filter"):
        raise Invalid("name sagas, or give a filter: one of the two", "targets")
    if len(asked.targets) > OPERATOR_REQUESTS:
        raise Invalid(f"at most {OPERATOR_REQUESTS} sagas are decided about at once", "targets")
    if asked.HasField("filter") and not 0 < asked.limit <= OPERATOR_REQUESTS:
        raise Invalid(f"a filter has a limit, from 1 to {OPERATOR_REQUESTS}", "limit")
    return list(asked.targets)


def token_of(place: Place) -> str:
    """Where the next page begins."""
    return f"{place[0]}:{place[1]}"


def place_of(token: str) -> Place:
    """What `token_of` made.  Raises `Invalid`."""
    if not token:
        return FIRST
    started_at_us, colon, saga_id = token.partition(":")
    if not (colon and started_at_us.isascii() and started_at_us.isdigit() and len(started_at_us) <= 20):
        raise Invalid("a page's token is what the page before it said", "page_token")
    return int(started_at_us), saga_id
