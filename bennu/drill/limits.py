"""Bounds of a drill, and what it calls too long."""

from bennu.members.limits import SILENCE_MS

CALL_TIMEOUT_S = 3.0
"""Of one attempt."""
GATHER_S = 0.02
"""What is due within this time goes out in one frame."""
GIVE_UP_S = 60.0
"""A command without a known outcome for so long counts as unanswered: a finding."""
PAUSE_FIRST_S, PAUSE_MAX_S = 0.01, 0.25
CALLS_AT_ONCE = 2_000
"""Further ones wait here: clients that only ever add calls keep a cluster that was away from coming back."""
MAX_BEHIND_S = 20.0
"""So many seconds of load may wait for an answer; a cluster that is further behind can't carry it."""
GAP_TIMEOUT_S = 30.0
ASK_AGAIN_S = 3.0
"""For a handover that has not come about."""
RELEASE_HEARD_S = 2.0
"""After that a leadership whose end was not announced was taken."""
HEALED_WITHIN_S = 10.0
"""After a fault has healed a new command must succeed within this time, in every partition."""
WHOLE_TIMEOUT_S = 60.0
"""Until all nodes follow or lead again."""
DETECTION_S = SILENCE_MS / 1000
LASTS = (1, 2, 5)
"""How many times as long as detection takes a node is stopped or cut off."""
DOWN_MAX_S = 2.0
"""How long what was killed stays away, at most: shorter and longer than it takes others to notice."""
SAGAS_AT_ONCE = 1_000
"""So many are begun and have not ended."""
STALL_S = 120.0
"""With so many under way one must end in this time, also while the broker boots."""
ALL_ENDED_S = 120.0
"""The last ones, too, some of which ask again with growing pauses for what they will never get."""
TURN_COMMANDS = 50
"""Of sagas that begin, to one node before it is the next one's turn."""
REPEATS = 5_000
"""Commands that are sent once more at the end; their replies must be the same bytes."""
AT_A_TIME = 64
SHOWN = 5
"""Examples of each kind of finding in a message."""
AWAY_TIMEOUT_S = 60.0
"""So long Postgres may be away: it is started again by the drill itself."""
RECONNECT_S = 0.05
LOOK_PAUSE_S = 0.02
LOOK_SHARE = 2.0
"""Between two looks over whole tables, so many times as long as a look takes: it must not starve the services."""
PROBE_S = 0.005
LIVE_LAG_MS = 1_000.0
"""A rebuild of stated size must not make live tables older than this."""
STATE_POLL_S = 0.05
REBUILD_TIMEOUT_S = 900.0
LEVEL_TIMEOUT_S = 300.0
"""Until tables show all that is in the journals."""
UNDISTURBED_S = 2.0
"""Of load before and after the first rebuild."""
LEVEL_EVENTS = 200
"""A generation that lacks so few events is about to be switched to."""
SWITCH_WITHIN_S = 1.0
"""QServer is killed at most so long after that."""
