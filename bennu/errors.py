"""Every failure that Bennu names, in one tree.

    BennuError
    ├── Retryable              the same call may succeed later; nothing is decided yet
    │   ├── Unavailable        a peer is away: nothing was asked of it, or a read found nothing
    │   └── AppendUnknown      an append may or may not be in the log: read before anything else
    ├── AppendRefused          certainly not written by this attempt
    └── Final                  no retry helps; the process stops and says why
        ├── TopicMissing       the log has no such topic
        ├── OffsetGone         the offset lies below the first record kept
        ├── OffsetBeyondTail   the offset lies past the end: the log lost its tail
        ├── RecordBroken       a record's bytes cannot be trusted or understood
        │   └── UnknownToBuild a sound record says what this build does not know: a newer build may
        ├── JournalBroken      legal bytes in an order that no legal history gives
        ├── Diverged           state differs from what the journal says it must be
        └── BadSettings        what the process was told to do makes no sense

Rejections of the domain are values, not errors: see `bennu.domain.aggregate.Rejection`.
"""


class BennuError(Exception):
    """Any failure that Bennu names."""


class Retryable(BennuError):
    """The same call may succeed later."""


class Unavailable(Retryable):
    """A peer is away."""


class AppendUnknown(Retryable):
    """The record may be in the log, now or later."""


class AppendRefused(BennuError):
    """This attempt certainly wrote nothing; `final` says whether the same bytes can ever be taken."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


class Final(BennuError):
    """No retry helps."""


class TopicMissing(Final):
    """The log has no such topic."""


class OffsetGone(Final):
    """The offset lies below the first record kept."""


class OffsetBeyondTail(Final):
    """The offset lies past the end of the log."""


class RecordBroken(Final):
    """A record's bytes cannot be trusted or understood."""


class UnknownToBuild(RecordBroken):
    """A sound record says what this build does not know: nothing of it was applied; a newer build may know it."""


class JournalBroken(Final):
    """Records in an order that no legal history gives."""


class Diverged(Final):
    """State differs from what the journal says it must be."""


class BadSettings(Final):
    """Settings that make no sense."""
