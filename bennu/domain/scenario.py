"""What `bennu explore` lets a saga live through: what is there before, what starts it, what must hold at its end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from bennu.domain.aggregate import State
from bennu.errors import BadSettings

States = Mapping[str, Mapping[str, State]]
"""By the name of the class of rules, such as `WalletRules`, and by key; what no event was written for is not there."""
ENDS = ("completed", "compensated", "compensation_failed", "parked")
"""How a path of an exploration may end."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A saga to be explored, by the name that `bennu explore` is given.

    `check` is given the states at the end of each path, and raises `AssertionError` for what must not be: money that is
    missing, a room that is booked twice.  It is passed over where the exploration itself refused a command for good or
    kept a participant away until the saga stood still.  That every saga ends, and that each step is carried out once,
    or undone once and in order, is checked without it.
    """

    name: str
    given: Sequence[Message]
    """Commands that are carried out before."""
    when: Message
    """The command whose event starts the saga."""
    check: Callable[[States], None] = lambda _states: None
    ends: Sequence[str] = ("completed",)
    """Some path has to end in each of these.  `parked` and `compensation_failed` are failures unless they are named."""

    def __post_init__(self) -> None:
        for end in self.ends:
            if end not in ENDS:
                raise BadSettings(f"scenario {self.name}: no saga ends {end!r}; `ends` names some of {', '.join(ENDS)}")
