"""What `bennu explore` lets a saga live through: what is there before, what starts it, what must hold at its end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from bennu.domain.aggregate import State

States = Mapping[str, Mapping[str, State]]
"""By the name of the aggregate's class, and by key."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A saga to be explored, by the name that `bennu explore` is given.

    `check` is given the states at the end of each path, and raises `AssertionError` for what must not be: money that is
    missing, a room that is booked twice.  That every saga ends, and that each step is carried out once, or undone once
    and in order, is checked without it.
    """

    name: str
    given: Sequence[Message]
    """Commands that are carried out before."""
    when: Message
    """The command whose event starts the saga."""
    check: Callable[[States], None] = lambda _states: None
