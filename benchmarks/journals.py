"""Journals of the bank as a leader writes them, made as fast as may be: no client, no log to wait for."""

from collections.abc import Iterator, Sequence

from google.protobuf.message import Message

from bank.app import app
from bank.v1.events_pb2 import AccountOpened, Deposited
from bennu.log.port import Log
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import FORMAT_VERSION, Position, digest_of, encode
from bennu.replica.state import ReplicaState
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EpochStart, EventBatch

TOPIC = "bank-events-0"
BATCH = 1_000
"""Events a batch: about what a leader under load makes of its commands."""
BEGAN_US = 1_720_000_000_000_000
WEEK_MS = 7 * 24 * 3600 * 1000

Event = tuple[str, bytes]
"""Its type, and its bytes."""


def blank_state() -> ReplicaState:
    """A replica that has read nothing."""
    return ReplicaState(AggregateFold(app), partition=0, partitions=1)


class Leader:
    """Of one partition: each batch continues the last one, and says what the states it touched are."""

    def __init__(self, *, window_count: int) -> None:
        self.fold = AggregateFold(app)
        self.position = Position(TOPIC)
        self._window_count = window_count
        self._commands = 0

    def begin(self) -> bytes:
        """The start of its epoch."""
        self.position = self.position._replace(offset=self.position.offset + 1, epoch=1, term=7)
        start = EpochStart(format_version=FORMAT_VERSION, epoch=1, term=7, node="bench", recorded_at_us=BEGAN_US)
        start.partitions, start.window_count, start.window_age_ms = 1, self._window_count, WEEK_MS
        return encode(start)

    def opening(self, accounts: int) -> Iterator[bytes]:
        """Batches that open so many."""
        for first in range(0, accounts, BATCH):
            numbers = range(first, min(first + BATCH, accounts))
            opened = [AccountOpened(account=name(n), owner=f"Owner {n}", currency="EUR") for n in numbers]
            yield self.batch([event_of(each) for each in opened])

    def depositing(self, events: int, *, accounts: int) -> Iterator[bytes]:
        """Batches of so many deposits, to all of these accounts alike."""
        for first in range(0, events, BATCH):
            numbers = range(first, min(first + BATCH, events))
            deposited = [
                Deposited(account=name(n * 7919 % accounts), amount_minor=500, currency="EUR", balance_minor=n + 1000)
                for n in numbers
            ]
            yield self.batch([event_of(each) for each in deposited])

    def batch(self, events: Sequence[Event], *, recorded_at_us: int = 0) -> bytes:
        """The next batch, of as many commands as events; if no time is told, ten milliseconds after the last one."""
        last, count = self.position, len(events)
        types = list(dict.fromkeys(kind for kind, _ in events))
        batch = EventBatch(
            format_version=FORMAT_VERSION,
            epoch=last.epoch,
            term=last.term,
            batch_no=last.batch_no + 1,
            first_seq=last.next_seq,
            prev_digest=last.digest,
            recorded_at_us=recorded_at_us or BEGAN_US + last.batch_no * 10_000,
            event_types=types,
            command_types=["bank.v1.Deposit"],
            origins=[Origin(actor="bench")],
            command_ids=[_uuid7(BEGAN_US // 1000 + last.batch_no * 10, self._commands + n) for n in range(count)],
            payload_digests=bytes(16 * count),
            command_type_indexes=[0] * count,
            event_counts=[1] * count,
            outcomes=[0] * count,
            event_type_indexes=[types.index(kind) for kind, _ in events],
            events=[raw for _, raw in events],
        )
        self.fold.apply(batch, TOPIC)
        batch.state_digest = self.fold.digest()
        self._commands += count
        body = encode(batch)
        self.position = last._replace(
            offset=last.offset + 1,
            batch_no=batch.batch_no,
            next_seq=last.next_seq + count,
            digest=digest_of(body),
        )
        return body


def event_of(message: Message) -> Event:
    """As it stands in a batch."""
    return message.DESCRIPTOR.full_name, message.SerializeToString()


async def write(log: Log, bodies: Iterator[bytes]) -> None:
    """Append all of them."""
    for body in bodies:
        await log.append(TOPIC, body)


def name(number: int) -> str:
    """Of an account."""
    return f"acc-{number:07}"


def _uuid7(made_ms: int, number: int) -> str:
    made = f"{made_ms:012x}"
    return f"{made[:8]}-{made[8:]}-7000-8000-{number:012x}"
