"""What may befall a projection, beside the failures in `bennu.errors`."""

from bennu.errors import Final, Retryable


class ProjectionFailed(Final):
    """What the projection asks of Postgres can't be done, now or later; the process stops."""


class EventFault(ProjectionFailed):
    """A rule raised, or gave a row that its table can't hold: the event is parked.  Table, column and seq are named."""


class PositionMoved(Retryable):
    """Another projector has written: read the position again, and leave the writing to it while it lives."""
