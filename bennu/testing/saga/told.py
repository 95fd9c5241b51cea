"""What a saga can be told: events, answers to its commands, and time that passes."""

from typing import NamedTuple

from google.protobuf.message import Message

from bennu.testing.shown import shown


class Answered(NamedTuple):
    """See `accepted` and `refused`."""

    step: str
    events: tuple[Message, ...] = ()
    refused: str = ""

    def __str__(self) -> str:
        how = f"refused: {self.refused}" if self.refused else f"accepted {shown(self.events)}"
        return f"{self.step or 'the awaited command'} was {how}"


class Unanswered(NamedTuple):
    """See `unanswered`."""

    step: str

    def __str__(self) -> str:
        return f"{self.step or 'a step'} was not answered in time"


class After(NamedTuple):
    """See `after`."""

    ms: int

    def __str__(self) -> str:
        return f"{self.ms} ms passed"


Signal = Message | Answered | Unanswered | After
"""What a saga is told; a message is an event."""


def accepted(step: str = "", *events: Message) -> Answered:
    """What was asked for by this step, its command or its compensation, was carried out, with these events.

    Without a name: the one command that is waited for, such as the closing one.
    """
    return Answered(step, events)


def refused(step: str, reason: str) -> Answered:
    """The same, refused by the rule of this name."""
    assert reason, "a refusal has a reason: the name of the rule that was broken"
    return Answered(step, refused=reason)


def unanswered(step: str = "") -> Unanswered:
    """Nobody answers until the step's timer runs out, and, if it is asked for again, until it is.

    Without a name: the step whose timer is the next.
    """
    return Unanswered(step)


def after(ms: int) -> After:
    """So much time passes; timers run out on the way."""
    return After(ms)
