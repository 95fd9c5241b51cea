"""Bounds of membership, and how they follow from one another."""

HEARTBEAT_MS = 250
HEARTBEAT_TIMEOUT_MS = 1_000
SILENCE_MS = 1_000
"""A leadership that neither a batch nor a heartbeat has shown for so long is suspected."""
STEP_MS = 300
"""By so much later than the one before it a node in the ranking proposes: longer than taking over takes."""
NAMED_WAIT_MS = 1_000
"""How long a process keeps what was sent on to it before it leads: longer than a handover takes."""
SETTLE_MS = 2_000
"""A node preferred over the leader has to be live and caught up for so long before it is given the partition."""
HANDOVER_EVERY_MS = 500
"""One partition after another: callers of a single one wait at a time."""
NEAR_BATCHES = 256
"""A follower that is not further behind takes over within milliseconds."""
RECENT_RECORDS = 64
"""Of the members log, read at the start: whether the last leader gave up in order."""
FORGET_MS = 600_000
"""After so much silence nobody comes back: a node has another name, or another life, when it does."""
FAREWELL_MS = 500

assert HEARTBEAT_MS * 3 < SILENCE_MS, "one lost heartbeat must make nobody suspected"
assert NAMED_WAIT_MS > STEP_MS, "who was named has proposed by then, or never will"
assert HEARTBEAT_MS < STEP_MS < SILENCE_MS
