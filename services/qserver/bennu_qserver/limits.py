"""QServer's bounds, in one place."""

from bennu.ops.generations import WORKER_GONE_S

TRANSACTION_CHANGES = 16_000
"""Row changes gathered for one transaction: at a few hundred, its fixed cost is what limits catching up ..."""
TRANSACTION_BYTES = 8 * 1024 * 1024
"""... or so many bytes of journal records.  What is gathered waits only while the transaction before it runs."""
PLAIN_SQL_CHANGES = 10
"""Changes that a call of plain SQL counts for: each is a round trip of its own."""
TRANSACTION_DAYS = 32
"""Days of history: of a table that is kept by time each may be a piece of its own, of ten locks, and all transactions
of Postgres together have some 6,000."""

BUILDING_CHANGES = 4_000
"""The same for a generation that is not live: what is live waits at most for one of these."""
BEHIND_S = 0.1
"""Work of a live loop that has waited for so long makes those that build rest ..."""
REST_S = 0.25
"""... at most so long before each transaction: they go on, slowly, whatever keeps the live one."""
REST_POLL_S = 0.01

LOOK_S = 1.0
"""How often a process says that it lives, and sees what is to be done."""

WISH_LOCK_MS = 300
"""How long a switch waits for a lock: below `deadlock_timeout`, after which Postgres would pick who must give way."""
LEVEL_S = 1.5
"""How long live positions are held until those of the next generation are level."""
LEVEL_POLL_S = 0.02
WISH_PAUSES_S = (1.0, 2.0, 4.0, 8.0)
"""Between tries: each may hold up the live loops for as long as a lock is waited for."""

UPKEEP_S = 60.0
"""How often pieces of tables that are kept by time are made ahead, and old ones dropped."""

EMPTY_ADVANCE_MS = 200
"""How often the position is written when no row changes."""

PARKED_KEYS = 100_000
"""Aggregates of one projection and partition whose events may be parked."""
PROBLEM_CHARS = 2_000
"""What is kept of what is wrong with an event."""
WISH_POLL_S = 1.0
"""How often a loop looks what operators want to become of what it has parked ..."""
RETRY_EVENTS = 1_000
"""... and how many events it tries again in one transaction."""

CONNECT_TIMEOUT_S = 5.0
STATEMENT_TIMEOUT_S = 30.0
"""Of a statement, as Postgres counts: then it says so, and the transaction is tried again ..."""
ANSWER_TIMEOUT_S = 35.0
"""... and as we do: who says nothing for so long is gone, and its connection is cut."""
IDLE_IN_TRANSACTION_MS = 10_000
"""Postgres ends a transaction whose QServer was suspended, so that another one can go on."""
POOL_CONNECTIONS = 8
"""Of the live loops, and as many of the others; with one more, to say that this process lives."""

PING_S = 1.0
"""How often Postgres is asked whether it is there."""
STOP_S = 1.0
"""How long the end of the transactions under way is waited for, before they are cut off."""

STANDBY_POLL_S = 0.5
TAKE_OVER_AFTER_S = 3.0
"""A projector that met another one writes again when the position has stood still for so long."""

LAG_SAMPLE_S = 1.0

RECONCILE_ROWS = 25_000
"""Of a projection, compared at once in the background: about 30 MB, and a reading of the journals for each so many."""
RECONCILE_REST_S = 10.0
"""Between two parts."""
RECONCILE_WORK_MS = 2.0
"""How long it works before it rests."""
RECONCILE_FIRST = 5
"""Differences that are told one by one."""

assert LOOK_S * 3 <= WORKER_GONE_S, "one look may come late"
assert STATEMENT_TIMEOUT_S < ANSWER_TIMEOUT_S
assert STANDBY_POLL_S * 2 <= TAKE_OVER_AFTER_S, "a writer must be seen to move"
assert EMPTY_ADVANCE_MS / 1000 < TAKE_OVER_AFTER_S
