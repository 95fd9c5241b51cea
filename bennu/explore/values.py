"""Everything that is durable or on its way in an exploration, and what can happen next.

A world is a value: an event makes another one of it, and two that are equal go on alike.  The events are those of the
log and of the processes on it:

    take p    CServer takes the next record of command log p, decides, and its batch is effective
    read j    Saga reads on in event journal j, reacts, and its batch is effective
    send d    Saga's commands for command log d are appended, and the receipt comes in
    fire      the next timer is due, and whatever is not read was journaled only now: its batch is effective
    land i    a record whose outcome was unknown lands after all

and, each counted as a fault:

    twice d   the append was unknown and is repeated; both records land
    late d    the same, but the first one lands only later, after whatever else
    crash     Saga is killed: it has read and sent what its journal says, and no more
    refuse p  the participant refuses the next record's commands
    away p    CServer takes nothing of command log p until nothing else happens
    fire      while commands are still on their way: an answer that comes too late
"""

from dataclasses import dataclass, field
from typing import NamedTuple

Records = tuple[bytes, ...]
NOBODY = -1


class Event(NamedTuple):
    """What happens, and to which log; `fault` says whether it counts as one."""

    kind: str
    place: int = 0
    fault: bool = False


Path = tuple[Event, ...]
"""From the beginning on."""


@dataclass(frozen=True, slots=True)
class World:
    """Logs, what was read and sent of them, and time; by the number of the place."""

    events: tuple[Records, ...]
    commands: tuple[Records, ...]
    sagas: Records = field(compare=False)
    """The journal of sagas.  What it comes to is compared in its stead, and in which order steps were undone."""
    memory: bytes
    undone: tuple[str, ...]
    taken: tuple[int, ...]
    """Records of each command log that CServer took."""
    seen: tuple[int, ...]
    kept_seen: tuple[int, ...]
    """Records of each event journal that Saga read; and as its journal says."""
    sent: tuple[int, ...]
    kept_sent: tuple[int, ...]
    """Numbers of each command log that Saga has receipts for; and as its journal says."""
    issued: tuple[int, ...]
    raised: tuple[str, ...] = ()
    """What rules of the apps raised, each once."""
    due_us: int = 0
    """The next timer, in journaled time; 0: none."""
    now_us: int = 0
    firings: int = 0
    limbo: tuple[tuple[int, bytes], ...] = ()
    away: int = NOBODY


class Taking(NamedTuple):
    """What CServer makes of the newest of these commands follows from this."""

    place: int
    journal: Records
    commands: Records
    refuse: bool
    now_us: int


class Reading(NamedTuple):
    """What Saga makes of an event journal, or, of nobody's, of its timer follows from this."""

    journal: Records
    receipts: tuple[int, ...]
    now_us: int
    place: int = NOBODY
    events: Records = ()


class Taken(NamedTuple):
    """What CServer made of a record."""

    body: bytes
    raised: tuple[str, ...]


class Reaction(NamedTuple):
    """What Saga made of something, and how its journal stands then."""

    body: bytes | None
    """Its record; None: nothing that matters."""
    memory: bytes
    undone: tuple[str, ...]
    """Compensations that it issued."""
    seen: int
    journaled: tuple[int, ...]
    issued: tuple[int, ...]
    due_us: int
    raised: tuple[str, ...]
