"""What may befall a projection, beside the failures in `bennu.errors`."""

from bennu.errors import Final, Retryable


class ProjectionFailed(Final):
    """A rule raised, or gave a row that its table can't hold.  The message names table, column, topic and seq."""


class PositionMoved(Retryable):
    """Another projector has written: read the position again, and leave the writing to it while it lives."""
