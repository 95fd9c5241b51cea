"""A saga: a long transaction over several aggregates, declared as steps.

    class TransferSaga(Saga[TransferRequested]):
        steps = (
            Step("withdraw", withdraw, compensation=reverse, timeout_ms=30_000),
            Parallel(Step("fee", charge, compensation=refund), Step("fraud_check", check, compensation=NOTHING)),
            Step("deposit", deposit, pivot=True),
            Step("notify", notify),
        )

Steps run one after another, those of a `Parallel` at the same time.  When one is refused, or not answered in time, the
ones before it are compensated, last first; then the initiator hears the end by a closing command.  Once the **pivot**
is carried out there is only forward: what comes after it is asked for until it is carried out.  `bennu.domain.plan`
says what is checked when an app is loaded, and how a `Tcc` becomes two steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar, get_args

from google.protobuf.message import Message

from bennu.domain.aggregate import Rule, State, marked
from bennu.errors import BadSettings

T = TypeVar("T", bound=Message)
Make = Callable[..., Message]
"""A command from the event that started the saga; or from that and the saga's data, if it takes two arguments."""
Correlate = Mapping[type[Message], Callable[[Any], str]]
"""Types of events, and how to find in one the key of the saga that it is for."""

COMMAND_ID_PREFIX = "saga:"
"""The ids of all commands that sagas issue begin so, and nobody else's may: who used one first would answer for it."""


class Nothing:
    """See `NOTHING`."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = Nothing()
"""The compensation of a step that changes nothing that would have to be undone."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a command is asked for again, and after which pauses: each twice the one before, with jitter.

    A command that was not answered in time is repeated with its id, so it has one effect however often it is asked
    for.  One that was refused is asked for anew, with another id: after the pivot, and in compensation, for any
    reason; before, for the reasons in `reasons` only.
    """

    limit: int = 3
    first_ms: int = 1_000
    max_ms: int = 60_000
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One forward command and what undoes it."""

    name: str
    command: Make
    compensation: Make | Nothing | None = None
    timeout_ms: int = 0
    """Journaled time after which it is asked for again, and in the end given up and compensated; 0 waits for ever."""
    retry: Retry = Retry(limit=0)
    """Of the forward command.  One after the pivot is asked for again even if this does not say so."""
    undo_retry: Retry = Retry()
    """Of a compensation that is refused; one that is not answered is asked for until it is."""
    when: Callable[..., bool] | None = None
    """The step is left out where this says False, of the starting event or of that and the saga's data."""
    pivot: bool = False
    """Once it is carried out there is only forward."""
    success: Correlate = field(default_factory=dict)
    """Events by which the step is carried out.  Without any, it is when its command is accepted."""
    refusal: Correlate = field(default_factory=dict)
    """Events by which it is refused, though its command was accepted."""


@dataclass(frozen=True, slots=True)
class Tcc:
    """Try, confirm, cancel: reserved first, used once the saga can no longer fail, or given back.

    `cancel` is the compensation of `try_`; `confirm` is asked for after the pivot, or after all other steps if there is
    none, until it is carried out.
    """

    name: str
    try_: Make
    confirm: Make
    cancel: Make
    timeout_ms: int = 0
    retry: Retry = Retry(limit=0)
    confirm_retry: Retry = Retry()
    undo_retry: Retry = Retry()
    when: Callable[..., bool] | None = None


class Parallel:
    """Branches that run at the same time; each a step, or a tuple of them, one after another."""

    def __init__(self, *branches: "Part") -> None:
        self.branches = branches


Part = Step | Tcc | Parallel | tuple[Any, ...]


class Saga(Generic[T]):
    """Base of a saga's declaration.  `key` names the saga; `completed` and `failed` make the closing command."""

    version: ClassVar[int] = 1
    steps: ClassVar[tuple[Part, ...]] = ()
    data: ClassVar[type[State]] = State
    """What the saga remembers of the answers; changed by the rules marked `hears` alone."""
    service_level_ms: ClassVar[int] = 60_000
    """A saga that takes longer is shown as stuck."""

    def key(self, trigger: T) -> str:
        """Identity of the saga that `trigger` starts; the same trigger must give the same key."""
        raise NotImplementedError

    def completed(self, trigger: T) -> Message | None:
        """Command that tells the initiator; None tells nobody."""
        return None

    def failed(self, trigger: T, reason: str) -> Message | None:
        """Command that tells the initiator that all is undone, and why; None tells nobody."""
        return None


def trigger_of(saga: type[Saga[Any]]) -> type[Message]:
    """The type of event that starts it.  Raises `BadSettings` where it names none."""
    for base in saga.__mro__:
        for generic in vars(base).get("__orig_bases__", ()):
            for argument in get_args(generic):
                if isinstance(argument, type) and issubclass(argument, Message):
                    return argument
    raise BadSettings(f"{saga.__qualname__} must derive from Saga[TheEventThatStartsIt]")


def check_key(saga: type[Saga[Any]]) -> None:
    """Raise `BadSettings` for a saga that does not say what names it."""
    if saga.key is Saga.key:
        raise BadSettings(
            f"{saga.__qualname__} has no `key`: it needs `def key(self, trigger) -> str`, which finds in the event "
            "that starts it what names the saga, such as the number of an order"
        )


def hears(rule: Rule) -> Rule:
    """Mark `(self, data, event) -> None`, which changes the saga's `data` by an event of an answer to it."""
    return marked("hears", rule)
