"""Every bound of the services, in one place, with the relations between them."""

from bennu.log.port import MAX_RECORD_BYTES

MAX_COMMAND_BYTES = 1024 * 1024
MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_FRAME_COMMANDS = 10_000
MAX_COMMAND_ID_BYTES = 64
MAX_ACTOR_BYTES = 256
MAX_TRACEPARENT_BYTES = 128
MAX_REASON_BYTES = 1024
MAX_CORRELATION_ID_BYTES = 1024
MAX_CAUSATION_ID_BYTES = 1024
MAX_TYPE_NAME_BYTES = 256
MAX_STREAM_NAME_BYTES = 128
"""Of a numbered stream: the name of a journal."""
MAX_METADATA_BYTES = 64 * 1024
"""Of a call: what is too long in it is to be answered by name, not by the transport."""
MAX_REASON_CHARS = 63
"""Of a rejection, as google.rpc.ErrorInfo has it."""
MAX_MESSAGE_CHARS = 500
"""Of a rejection's text for people; a longer one is cut."""
MAX_UNKNOWN_FIELD_BYTES = 1024
"""Unknown fields up to this size pass: a newer client may know more than this server."""

BATCH_BYTES = 512 * 1024
"""A batch is closed beyond this: records of 100-400 KB gave the best throughput on RocketMQ."""
BATCH_ENTRIES = 1_024
MAX_DECISION_BYTES = 3 * 1024 * 1024
"""Events and reply of one command, with `EVENT_BYTES` for each event: what fits beside a batch that is nearly full."""
EVENT_BYTES = 8
"""What the columns of a batch add to each event, at most."""
ENTRY_BYTES = 24
"""What they add to each entry beside its id and decision."""
BATCH_SLACK_BYTES = 256 * 1024
"""By which a batch may be larger than counted: numbers, positions, names of types."""
DECIDE_CHUNK = 32
"""Commands decided before the event loop gets a turn."""
DECIDE_LATER = 64
"""Commands that wait, decided or not: while there are fewer, and a batch is on its way, those that come meanwhile are
decided together once it is there.  A call of 16 to 256 callers takes 8 % less of the processor."""
GATHER_SLICES = 8
"""After so many a batch is closed although more commands are in line: one of few costs as much as one of many."""

FEW_ENTRIES = 32
"""A batch with fewer stays open while the event loop is busy, for more are on their way then: an append costs as much
as ten commands.  One that comes after a batch of a single command does not: its caller may be the only one ..."""
GATHER_TURNS = 8
"""... a loop without one idle turn among so many is busy ..."""
GATHER_MS = 3
"""... and for so long, once these turns are over ..."""
GATHER_LONGER_MS = 5
"""... and so much longer, while it is still busy, which is looked at ..."""
GATHER_STEP_MS = 1
"""... so often.  By turns with a wait of 3 ms alone a call took 9 % less of the processor with 64 callers, 4 % with
256; a wait of 8 ms that ended for nothing cost 16 callers 14 % of their rate."""
FEW_APPENDS = 2
"""Batches of one process on their way to the log at once, before small ones wait for one of them."""

PREPARE_CHUNK = 64
"""Commands of a frame parsed and validated before the event loop gets a turn."""
TURNS_BETWEEN_SLICES = 16
"""Turns of the event loop after each of those slices, at most: fewer when one of them is idle."""
IDLE_TURN_US = 20
"""A turn as short as that was nobody's: an empty one takes 3 us, a step of a call 30 and more."""
LONE_SLICE = 8
"""By so much a slice is longer while nobody is served who does without."""
CALM_FOR_US = 200_000
"""Who did no slice for so long does without; while work comes for such a one, the others rest ..."""
LEFT_TO_OTHERS = 7.0
"""... this long for each microsecond of a slice ..."""
REST_US = 1_000
"""... once it is so much: the loop's timers are no finer."""
KNOWN_SLICERS = 1_024
"""Before those who did none lately are forgotten."""

INBOX_COMMANDS = 65_536
INBOX_BYTES = 64 * 1024 * 1024
TURN_COMMANDS = 32
"""Commands of one client decided before it is the next client's turn."""
DRAIN_SAMPLE_MS = 100
"""Over how long the rate of answers is measured, at least."""
QUERY_BYTES = 1024
"""What a waiting query counts for among the bytes of an inbox."""
INSPECT_LIMIT = 100
INSPECT_MAX_LIMIT = 1_000
"""Aggregates on a page, if nothing is said and at most."""
INSPECT_SCAN = 20_000
"""Aggregates that a search looks at in one call."""
INSPECT_SLICE = 2_048
"""Keys or states looked at between two turns of the loop."""
INSPECT_PAGE_BYTES = 1024 * 1024
"""Of states on a page; also of one state, beyond which a page leaves it out."""
LOG_INPUTS = 16
"""Records of the command log waiting to be decided."""
STREAM_FRAMES = 64
"""Frames of one stream being worked on; further ones wait in the transport's flow control."""

WINDOW_COUNT = 1_000_000
"""Replies kept by a process, over all its partitions."""
WINDOW_AGE_MS = 7 * 24 * 3600 * 1000
ID_AHEAD_MS = 60_000
"""How far in the future a UUIDv7 may claim to have been made."""

DIGEST_EVERY_BATCHES = 1
"""More would leave open which of them is the first that differs: see docs/adr/0009.  Simulations vary it."""

APPEND_TIMEOUT_MS = 3_000
RESOLVE_TIMEOUT_MS = 15_000
"""An append unresolved for so long makes the leader step down and rebuild."""
TAIL_LOST_AFTER_MS = 2_000
"""A log that ends before what was read from it, for so long, has lost its end."""
RETRY_FIRST_MS = 20
RETRY_MAX_MS = 1_000
IDLE_BEFORE_WATCH_MS = 200
FOLLOW_PACE_MS = 200
"""Between two reads of a follower for whom nobody waits,"""
FOLLOW_MANY_RECORDS = 32
"""unless one read gave so many, which is all that some brokers give at a time: there may be more."""
FOLLOW_CHUNK_BYTES = 64 * 1024
"""Of journal records, evolved by a follower between two turns of the loop."""
PAST_LOOK_BACK_RECORDS = 256
"""Searched for an event that stands right before a snapshot: batches without any, and void ones, may follow it."""
LOG_LOOK_MS = 5_000
"""How often a leader looks whether the log is there: one that has nothing to append would not notice."""
STOP_GRACE_MS = 2_000
LAST_CALLS_MS = 100
"""How long calls are still told that nobody leads here, once nothing is decided any more ..."""
LAST_ANSWERS_MS = 500
"""... and then how long answers may take on their way out."""
REPLY_TIMEOUT_MS = 30_000
LEADER_WAIT_MS = 5_000
"""How long a call waits for somebody to lead, or for a follower to have read what it asks for."""
ELSEWHERE_COMMANDS = 65_536
"""Commands of a process that wait for another one's answer."""
RETRY_HINT_MS = 200
RETRY_HINT_MAX_MS = 10_000
"""When a client that was refused should come again: at least, and at most."""

assert BATCH_BYTES + BATCH_SLACK_BYTES + MAX_DECISION_BYTES < MAX_RECORD_BYTES, "a batch with one more command must fit"
assert MAX_COMMAND_BYTES < MAX_FRAME_BYTES <= MAX_RECORD_BYTES
assert TAIL_LOST_AFTER_MS < APPEND_TIMEOUT_MS < RESOLVE_TIMEOUT_MS < REPLY_TIMEOUT_MS
assert DECIDE_CHUNK * GATHER_SLICES <= BATCH_ENTRIES, "beside calm callers a batch is closed before it is full"
assert TURN_COMMANDS <= DECIDE_CHUNK, "a client's turn is not longer than the partition's"
assert RETRY_HINT_MS < RETRY_HINT_MAX_MS
