"""Bounds of the archive."""

SEGMENT_BYTES = 64 * 1024 * 1024
"""A segment is sealed once it has so many bytes; the last records may bring it above."""
SEGMENT_AGE_S = 3_600
"""A segment is sealed when it is so old, however small."""

CHUNK_RECORDS = 512
CHUNK_BYTES = 4 * 1024 * 1024
"""What is read from a segment at a time."""

CARRIED_BYTES = 1024 * 1024
"""What the header of a segment may say of the history before it."""

SYNC_PAUSE_MS = 50
"""At the tail: records that come within this time share an fsync."""
SAMPLE_S = 1.0
"""How often lag and headroom are looked at."""

RESTORE_TIMEOUT_MS = 10_000
"""Of one append of a restore ..."""
RESTORE_SETTLE_MS = 15_000
"""... and how long one of unknown outcome is looked for before it is sent again."""
