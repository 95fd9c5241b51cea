"""Bounds of snapshots, in one place."""

CHUNK_BYTES = 1024 * 1024
"""Of a chunk, a row in Postgres; only the last one is smaller."""

KEEP = 3
"""Snapshots kept of a topic, unless told otherwise."""

EVERY_S = 24 * 3600
"""How often a follower takes one."""
LOOK_EVERY_S = 60.0
"""How often it looks whether one is due: another process may have taken one."""

PAUSE_MS = 2
"""Left to others between two slices, each of well under a millisecond of work: to a loop that leads other partitions,
and to a disk that the log may share with Postgres."""

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
WRITE_TIMEOUT_S = 1800.0
"""Of all chunks of a snapshot, which is one transaction."""
CHUNKS_AHEAD = 8
"""Read from Postgres before they are loaded."""

STORE_PATIENCE_S = 10.0
"""How long a start waits for Postgres, before it replays a journal that is whole."""

LOOK_BACK_RECORDS = 4096
"""Searched, before a snapshot's position, for the last batch that it holds."""
LOOK_BACK_FIRST = 16

assert LOOK_BACK_FIRST <= LOOK_BACK_RECORDS
assert COMMAND_TIMEOUT_S < WRITE_TIMEOUT_S
