"""Bounds of snapshots, in one place."""

CHUNK_BYTES = 256 * 1024
"""Of a chunk, a row in Postgres; only the last one is smaller.  Postgres takes each at one go, and so does a disk."""

KEEP = 3
"""Snapshots kept of a topic, unless told otherwise."""

EVERY_S = 24 * 3600
"""How often a follower takes one."""
LOOK_EVERY_S = 60.0
"""How often it looks whether one is due: another process may have taken one."""

PAUSE_MS = 60
"""Left to others after each slice of 64 KiB is written, which makes 1 MiB a second: to a disk that the log shares with
Postgres, and to a loop that leads other partitions.  A million accounts take some minutes; nobody waits for them."""
WORK_MS = 1.0
"""Done at one go by a process that reads to take a snapshot,"""
REST = 10
"""and rested after it, in times of the work: a p99 of 7 ms became 7.5, with 4 times 8, and 11 without any rest."""

CONNECT_TIMEOUT_S = 5.0
COMMAND_TIMEOUT_S = 30.0
"""Of a chunk too: a snapshot, which is one transaction, may take as long as it takes."""
CHUNKS_AHEAD = 8
"""Read from Postgres before they are loaded."""

STORE_PATIENCE_S = 10.0
"""How long a start waits for Postgres, before it replays a journal that is whole."""

LOOK_BACK_RECORDS = 4096
"""Searched, before a snapshot's position, for the last batch that it holds."""
LOOK_BACK_FIRST = 16

assert LOOK_BACK_FIRST <= LOOK_BACK_RECORDS
assert PAUSE_MS < COMMAND_TIMEOUT_S * 1000
