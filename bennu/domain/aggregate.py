"""An aggregate: a typed state, rules that decide, and rules that evolve.

    class Account(State):
        balance_minor: int = 0

    class AccountRules(Aggregate[Account]):
        @decides
        def deposit(self, state: Account, command: Deposit) -> Deposited | Rejection: ...
        @evolves
        def deposited(self, state: Account, event: Deposited) -> None: ...
        @answers
        def get(self, state: Account, query: GetAccount) -> AccountView | Rejection: ...

`decide` only looks; `evolve` only changes the state it is given.  Neither reads a clock, draws a random number or
waits: time and identity come in the `Context`, a third parameter that `decides` rules may have.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, get_args

import msgspec
from google.protobuf.message import Message

from bennu.errors import BadSettings

Rule = TypeVar("Rule", bound=Callable[..., Any])


class State(msgspec.Struct, gc=False):
    """Base of an aggregate's state.  Every field has a default: the state of an aggregate that was never heard of.

    `gc=False` keeps a million of them out of the garbage collector's way; so no reference cycles through a state.
    """

    state_version: ClassVar[int] = 1
    """To be raised when its fields change, or their meaning: snapshots hold states.  See `bennu.domain.older`."""


S = TypeVar("S", bound=State)


class Rejection(NamedTuple):
    """A business refusal, named after the broken rule in snake_case, such as `insufficient_funds`."""

    reason: str
    message: str = ""


class Accepted(NamedTuple):
    """Events with a reply that is none of them.  A rule may also return one event, or a sequence of them."""

    events: Sequence[Message]
    reply: Message


class Context(msgspec.Struct, frozen=True, gc=False):
    """What a decision may know besides state and command."""

    command_id: str
    actor: str
    recorded_at_us: int


class Aggregate(Generic[S]):
    """Base of an aggregate's rules.  Instances hold nothing; one serves all aggregates of the kind."""


def state_type(rules: type[Aggregate[S]]) -> type[S]:
    """The state that these rules are about, from their base `Aggregate[YourState]`."""
    for base in getattr(rules, "__orig_bases__", ()):
        for argument in get_args(base):
            if inspect.isclass(argument) and issubclass(argument, State):
                check_defaults(argument)
                return argument  # type: ignore[return-value]  # it is what the base was given as S
    raise BadSettings(f"{rules.__qualname__} must derive from Aggregate[YourState]")


def check_defaults(state: type[State]) -> None:
    """Raise `BadSettings` for a field that has none."""
    missing = [field.name for field in msgspec.structs.fields(state) if field.required]
    if missing:
        raise BadSettings(
            f"{state.__qualname__}.{missing[0]} has no default; every field needs one, for an aggregate never heard of"
        )


def marked(role: str, rule: Rule) -> Rule:
    """The rule, known as one of this role."""
    setattr(rule, "__bennu__", role)  # noqa: B010 - functions have no such declared attribute
    return rule


def decides(rule: Rule) -> Rule:
    """Mark `(self, state, command[, context]) -> event | [events] | Accepted | Rejection`."""
    return marked("decides", rule)


def evolves(rule: Rule) -> Rule:
    """Mark `(self, state, event) -> None`, which changes `state`."""
    return marked("evolves", rule)


def answers(rule: Rule) -> Rule:
    """Mark `(self, state, query) -> view | Rejection`, which only looks."""
    return marked("answers", rule)
