"""At the end of a run, a record that no legal history holds: who reads it must stop and say where it stands (I14)."""

import asyncio
from collections.abc import Callable
from hashlib import blake2b
from random import Random

from bank.app import app as bank
from bank.v1.events_pb2 import Deposited
from bennu.errors import Final
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import FORMAT_VERSION, encode
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from tests.simulation.truth import Truth, require, truth_of
from tests.simulation.world import SLOTS, World

STOPS_WITHIN_S = 20.0


def next_batch(truth: Truth, head: bytes) -> EventBatch:
    """The batch that would be effective."""
    last, (_, start) = truth.batches[-1].batch, truth.starts[-1]
    return EventBatch(
        format_version=FORMAT_VERSION,
        epoch=start.epoch,
        term=start.term,
        batch_no=last.batch_no + 1,
        first_seq=last.first_seq + len(last.events),
        prev_digest=head,
        recorded_at_us=last.recorded_at_us,
    )


def add_event(batch: EventBatch, type_name: str, raw: bytes) -> None:
    """Make it the batch of one command with one event."""
    batch.event_types.append(type_name)
    batch.command_types.append("bank.v1.Deposit")
    batch.origins.append(Origin(actor="nobody"))
    batch.command_ids.append("spoilt")
    batch.payload_digests = bytes(16)
    batch.command_type_indexes.append(0)
    batch.event_counts.append(1)
    batch.outcomes.append(0)
    batch.event_type_indexes.append(0)
    batch.events.append(raw)


def not_next(batch: EventBatch) -> None:
    batch.batch_no += 1


def another_chain(batch: EventBatch) -> None:
    batch.prev_digest = bytes(16)


def another_term(batch: EventBatch) -> None:
    batch.term ^= 1


def another_seq(batch: EventBatch) -> None:
    batch.first_seq += 1


def future_format(batch: EventBatch) -> None:
    batch.format_version += 1


def unknown_event(batch: EventBatch) -> None:
    add_event(batch, "bank.v9.Unheard", b"")


def unreadable_event(batch: EventBatch) -> None:
    add_event(batch, Deposited.DESCRIPTOR.full_name, b"\xff")


def another_state(batch: EventBatch) -> None:
    add_event(batch, Deposited.DESCRIPTOR.full_name, Deposited(account="a0", balance_minor=1).SerializeToString())
    batch.state_digest = AggregateFold(bank).form + bytes(16)


SPOILERS: tuple[Callable[[EventBatch], None], ...] = (
    not_next,
    another_chain,
    another_term,
    another_seq,
    future_format,
    unknown_event,
    unreadable_event,
    another_state,
)


def spoilt_record(random: Random, truth: Truth, head: bytes) -> tuple[str, bytes]:
    """What is wrong with it, and its bytes."""
    wrong = random.choice((*SPOILERS, None, None))
    if wrong is None:
        epoch = truth.starts[-1][1].epoch + 2
        far = encode(EpochStart(format_version=FORMAT_VERSION, epoch=epoch, term=1, node="far", partitions=1))
        return random.choice((("an epoch too far", far), ("no record at all", b"\xff\xff")))
    batch = next_batch(truth, head)
    wrong(batch)
    return wrong.__name__, encode(batch)


async def spoil(world: World) -> None:
    """Append it to a journal, and have a new process read it.  Raises `Violation`."""
    for slot in range(SLOTS):
        world.kill(slot)
    bodies, topic = world.journal(0), world.events_topic(0)
    truth = truth_of(bodies)
    wrong, record = spoilt_record(world.random, truth, head_of(truth, bodies))
    world.note(f"{topic}, offset {len(bodies)}: {wrong}")
    world.broker.topic(topic).land(record)
    process = world.start(0)
    until_s = world.loop.time() + STOPS_WITHIN_S
    while process.failure is None and not process.leads and world.loop.time() < until_s:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.1)
    said = [str(error) for error in process.problems() if isinstance(error, Final)]
    expected = f"{topic}, offset {len(bodies)}"
    require(any(expected in text for text in said), "I14", f"{expected} is {wrong}, yet it said {process.failure!r}")


def head_of(truth: Truth, bodies: list[bytes]) -> bytes:
    """Digest of the last effective batch."""
    return blake2b(bodies[truth.batches[-1].offset], digest_size=16).digest()
