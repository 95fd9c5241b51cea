"""What every adapter checks before it does anything, and the sizes that they share."""

import re

from bennu.errors import AppendRefused, BadSettings
from bennu.log.port import MAX_RECORD_BYTES

CHUNK_RECORDS = 512
"""At most so many records in one chunk of `read` ..."""

CHUNK_BYTES = 4 * 1024 * 1024
"""... and a chunk is closed by the record with which it passes so many bytes."""

BOUNDS_TIMEOUT_MS = 5_000
"""How long `bounds` and `create` wait for an answer before they say `Unavailable`."""

RETRY_MIN_MS = 200
RETRY_MAX_MS = 2_000
"""A peer that is away is asked again after a random wait that grows between these two."""

AWAY_LOG_INTERVAL_S = 10.0
"""How often a peer that stays away is mentioned."""

_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,100}")


def check_topic(topic: str) -> None:
    """Raise `BadSettings` unless every adapter could carry this name."""
    if not _TOPIC.fullmatch(topic):
        raise BadSettings(f"a topic's name has 1 to 100 of A-Z a-z 0-9 _ -, this one is {topic[:120]!r}")


def check_append(topic: str, record: bytes) -> None:
    """Raise `AppendRefused` for what no adapter takes."""
    if not _TOPIC.fullmatch(topic):
        raise AppendRefused(f"no topic can have the name {topic[:120]!r}", final=True)
    if not record:
        raise AppendRefused(f"{topic}: an empty record", final=True)
    if len(record) > MAX_RECORD_BYTES:
        raise AppendRefused(f"{topic}: {len(record)} bytes, {MAX_RECORD_BYTES} is the limit", final=True)
