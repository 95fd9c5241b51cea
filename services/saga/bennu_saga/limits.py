"""Every bound of Saga's own, in one place."""

from bennu.limits import BATCH_BYTES, MAX_COMMAND_BYTES
from bennu.log.port import MAX_RECORD_BYTES

INPUT_BATCHES = 16
"""Batches of event journals, over all of them, that wait to be reacted to."""

REACT_CHUNK = 256
"""Signals reacted to before the event loop gets a turn."""

OUTBOX_COMMANDS = 65_536
"""Commands without a receipt; beyond it no further event is reacted to until command logs take some."""

OUTBOX_BYTES = 64 * 1024 * 1024
"""The same, of their size."""

RECORD_BYTES = 512 * 1024
"""A record of a command log takes no further command beyond this."""

RECORD_COMMANDS = 4_096

LAZY_MS = 1_000
"""Positions and receipts alone are journaled after this; with effects they ride along at once."""

TICK_MS = 100
"""How exactly timers fire."""

SURVEY_MS = 5_000
"""How often the ends of the input journals are asked for, for the lag, and at once when a timer is due; and how often
sagas that take too long are counted."""

SEND_TIMEOUT_MS = 3_000
SEND_RETRY_FIRST_MS = 20
SEND_RETRY_MAX_MS = 2_000
SAY_AGAIN_MS = 10_000
"""Between two log lines about the same command log that takes nothing."""

OPERATOR_TIMEOUT_MS = 20_000
"""How long an operator waits for a decision, or what was looked at, to be effective."""

OPERATORS = 64
"""Calls of operators at a time; another one is refused at once.  Health and reflection are not among them."""

OPERATOR_REQUESTS = 1_000
"""Sagas that are decided about by one call, at most."""

SAGAS_LIMIT = 100
"""Sagas on a page, if nothing is said; at most as many as are decided about by one call."""

SAGAS_SLICE = 1_024
"""Sagas looked at, for a page or to be counted, between two turns of the loop."""

TRIALS_SLICE = 16
"""Decisions tried between two turns of the loop."""

MAX_REASON_CHARS = 500

MAX_DATA_BYTES = 256 * 1024
"""Of a saga's data, which stands in the record of each answer that changes it."""

MAX_KEY_BYTES = 256
"""A saga's key stands in each of its records, and in each of its commands."""

assert RECORD_BYTES + MAX_COMMAND_BYTES < MAX_RECORD_BYTES, "a record with one more command must fit"
assert BATCH_BYTES + 3 * MAX_COMMAND_BYTES < MAX_RECORD_BYTES, "a batch with one more trigger and its command must fit"
assert TICK_MS < LAZY_MS < SURVEY_MS
