"""Replay: old events by upcasters, digests that name the first batch that differs, broken records by their place."""

from random import Random
from typing import NamedTuple

import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, ServiceDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from bank.v1.commands_pb2 import Deposit
from bank.v1.events_pb2 import AccountClosed, AccountFrozen, AccountOpened, Deposited, Withdrawn
from bennu.domain import Aggregate, App, State, decides, evolves, upcasts
from bennu.errors import BadSettings, Diverged, RecordBroken, UnknownToBuild
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.fenced import FencedJournal
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.replica.state import ReplicaState
from bennu.testing.loop import run
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from tests.journal_writer import Entry, JournalWriter


class Counter(State):
    """What came in, and how often."""

    total: int = 0
    times: list[int] = []  # noqa: RUF012 - msgspec copies it for each state


class CounterRules(Aggregate[Counter]):
    """Counts deposits."""

    @decides
    def add(self, state: Counter, command: Deposit) -> Deposited:
        return Deposited(account=command.account, amount_minor=command.amount_minor)

    @evolves
    def added(self, state: Counter, event: Deposited) -> None:
        if event.amount_minor < 0:
            raise ZeroDivisionError("a rule that can't take its own event")
        state.total += event.amount_minor
        state.times.append(event.amount_minor)


@upcasts
def withdrawn(old: Withdrawn) -> Deposited:
    """The newest name of it."""
    return Deposited(account=old.account, amount_minor=old.amount_minor + 1)


@upcasts
def opened(old: AccountOpened) -> Withdrawn:
    """A step to the next version only."""
    return Withdrawn(account=old.account, amount_minor=old.limit_minor)


def nothing_called() -> ServiceDescriptor:
    """A service without methods."""
    pool = DescriptorPool()
    file = FileDescriptorProto(name="counting.proto", package="counting", service=[ServiceDescriptorProto(name="None")])
    pool.Add(file)
    return pool.FindServiceByName("counting.None")


APP = App("counting", service=nothing_called(), aggregates=(CounterRules,), upcasters=(withdrawn, opened))
TOPIC = "counting-events-0"
WHERE = f"{TOPIC}, offset 1"


class Replayed(NamedTuple):
    """A replica that has read nothing yet."""

    fold: AggregateFold
    state: ReplicaState


def replica() -> Replayed:
    fold = AggregateFold(APP)
    return Replayed(fold, ReplicaState(fold, partition=0, partitions=1))


def batch(*events: Message) -> EventBatch:
    """A legal batch of these events."""
    journal = JournalWriter(MemoryLog(MemoryBroker()), TOPIC)
    return journal.build([Entry(f"id-{n}", [event]) for n, event in enumerate(events)], recorded_at_us=1)


def counted(fold: AggregateFold, key: str = "a") -> Counter | None:
    """The state of this key."""
    found = fold.states[0].get(key)
    assert found is None or isinstance(found, Counter)
    return found


def test_old_events_are_read_as_what_they_mean_now() -> None:
    """Upcasters are chained: each version needs only the step to the next, and order is kept."""
    fold, state = replica()
    old = (Withdrawn(account="a", amount_minor=10), AccountOpened(account="a", limit_minor=20))
    state.evolve(batch(*old, Deposited(account="a", amount_minor=30)), WHERE)
    assert counted(fold) == Counter(total=11 + 21 + 30, times=[11, 21, 30])


def test_a_digest_is_that_of_the_states_it_touched() -> None:
    """Equal states give equal digests, whatever other states there are; old events touch what they mean now."""
    ours, theirs = replica(), replica()
    ours.state.evolve(batch(Deposited(account="elsewhere", amount_minor=5)), WHERE)
    events = batch(Withdrawn(account="a", amount_minor=10), Deposited(account="b", amount_minor=30))
    for one in (ours, theirs):
        one.state.evolve(events, WHERE)
    assert ours.fold.digest(events) == theirs.fold.digest(events)
    ours.state.evolve(batch(Deposited(account="b", amount_minor=1)), WHERE)
    assert ours.fold.digest(events) != theirs.fold.digest(events)


def test_a_digest_that_is_ours_passes() -> None:
    """The leader's digest, taken after its batch, is what a replica finds after the same batch."""
    leader, follower = replica(), replica()
    events = batch(Deposited(account="a", amount_minor=10))
    leader.fold.apply(events, WHERE)
    events.state_digest = leader.fold.digest(events)
    follower.state.evolve(events, WHERE)
    assert counted(follower.fold) == counted(leader.fold)


def test_a_state_that_differs_names_the_batch() -> None:
    """The first batch after which the digests differ, with its place."""
    leader, follower = replica(), replica()
    leader.state.evolve(batch(Deposited(account="a", amount_minor=1)), WHERE)
    events = batch(Deposited(account="a", amount_minor=10))
    leader.fold.apply(events, WHERE)
    events.state_digest = leader.fold.digest(events)
    with pytest.raises(Diverged, match=f"{WHERE}: after batch 1 this replica's state differs"):
        follower.state.evolve(events, WHERE)


def test_an_event_that_nobody_knows_is_an_end() -> None:
    """Types outside the app's are never skipped: all of a batch's are named before any of it is applied."""
    fold, state = replica()
    with pytest.raises(UnknownToBuild, match=rf"{WHERE}: event type bank\.v1\.AccountFrozen is not known to app"):
        state.evolve(batch(Deposited(account="a", amount_minor=1), AccountFrozen(account="a")), WHERE)
    more = (Deposited(account="a"), AccountFrozen(account="a"), AccountClosed(account="a"))
    with pytest.raises(UnknownToBuild, match=r"event types bank\.v1\.AccountFrozen, bank\.v1\.AccountClosed are not"):
        state.evolve(batch(*more), WHERE)
    assert counted(fold) is None


def test_an_outcome_that_nobody_knows_is_an_end() -> None:
    """A newer Bennu may answer in another way; this one applies nothing of such a batch."""
    fold, state = replica()
    newer = batch(Deposited(account="a", amount_minor=1))
    newer.outcomes[0] = 4
    with pytest.raises(UnknownToBuild, match=f"{WHERE}: batch 1 has outcome 4, which this version of Bennu"):
        state.evolve(newer, WHERE)
    assert counted(fold) is None


async def followed(ours: Replayed, next_event: Message) -> Position:
    """Where a replica stands that has read one batch, and failed at the next."""
    broker = MemoryBroker()
    broker.create(TOPIC)
    log = MemoryLog(broker)
    writer = JournalWriter(log, TOPIC)
    await writer.epoch()
    for event in (Deposited(account="a", amount_minor=1), next_event):
        await writer.batch([Entry(f"id-{writer.position.batch_no}", [event])], recorded_at_us=1)

    def absorb(_: Verdict, record: EpochStart | EventBatch, where: str) -> None:
        if isinstance(record, EventBatch):
            ours.state.evolve(record, where)

    follower = FencedJournal(log, JournalReader(Position(TOPIC)), absorb, chance=Random(0))
    with pytest.raises(UnknownToBuild, match=f"{TOPIC}, offset 2: event type"):
        await follower.read_to_tail()
    return follower.reader.position


def test_a_follower_stays_where_it_knew_all() -> None:
    """Position and state are those of the last batch that it could apply."""
    ours = replica()
    position = run(followed(ours, AccountFrozen(account="a")))
    assert (position.offset, position.batch_no) == (2, 1)
    assert counted(ours.fold) == Counter(total=1, times=[1])


def test_a_rule_that_raises_on_replay_names_the_record() -> None:
    """What was journaled must be evolved by: if the code can't any more, the operator is told where."""
    with pytest.raises(RecordBroken, match=f"{WHERE}: batch 1 has an event that can't be applied .ZeroDivisionError"):
        replica().state.evolve(batch(Deposited(account="a", amount_minor=-1)), WHERE)


@pytest.mark.parametrize(("partition", "partitions"), [(0, 2), (1, 1)])
def test_a_journal_of_another_place_is_refused(partition: int, partitions: int) -> None:
    """The number of partitions is fixed when journals are created."""
    with pytest.raises(BadSettings, match="told that it is 0 of 1"):
        replica().state.begin_epoch(EpochStart(partition=partition, partitions=partitions), WHERE)
