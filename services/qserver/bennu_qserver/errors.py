"""What may befall a projection, beside the failures in `bennu.errors`."""

from bennu.errors import BadSettings, BennuError, Final, Retryable


class ProjectionFailed(Final):
    """What the projection asks of Postgres can't be done, now or later; the process stops."""


class EventFault(ProjectionFailed):
    """A rule raised, or gave a row that its table can't hold: the event is parked.  Table, column and seq are named."""


class NotOwner(ProjectionFailed):
    """A rule would write a row that belongs to another aggregate or partition than its event."""


class TablesDiffer(BadSettings):
    """The tables of a generation are not as they were made, or not there: they must be built anew."""


class PositionMoved(Retryable):
    """Another projector has written: read the position again, and leave the writing to it while it lives."""


class GenerationGone(BennuError):
    """The generation has no tables any more: whoever fills it ends, and all others go on."""


class NotYet(Retryable):
    """What an operator wishes waits for something, which the message names."""


class TooSlow(Retryable):
    """Postgres ended a statement that took too long, of a transaction that can be cut in two."""
