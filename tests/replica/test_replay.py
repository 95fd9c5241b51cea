"""Replay: old events by upcasters, digests that name the first batch that differs, broken records by their place."""

from random import Random
from typing import NamedTuple, cast

import msgspec
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
from bennu.replica.agreement import form_of
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


@upcasts
def lying(old: AccountOpened) -> Deposited:
    """It does not do what it declares."""
    return cast(Deposited, Withdrawn(account=old.account))


def test_an_upcaster_that_gives_another_event_than_it_declares_breaks_the_record() -> None:
    """An event is never taken for one that it is not."""
    fold = AggregateFold(App("counting", service=nothing_called(), aggregates=(CounterRules,), upcasters=(lying,)))
    with pytest.raises(RecordBroken, match=f"{WHERE}: batch 1 has an event that can't be applied"):
        fold.apply(batch(AccountOpened(account="a")), WHERE)
    assert counted(fold) is None


def test_a_digest_is_that_of_the_states_it_touched() -> None:
    """Equal states give equal digests, whatever other states there are; old events touch what they mean now."""
    ours, theirs = replica(), replica()
    ours.state.evolve(batch(Deposited(account="elsewhere", amount_minor=5)), WHERE)
    ours.fold.digest()
    for one in (ours, theirs):
        one.state.evolve(batch(Withdrawn(account="a", amount_minor=10), Deposited(account="b", amount_minor=30)), WHERE)
    assert ours.fold.digest() == theirs.fold.digest()
    assert ours.fold.covered() == theirs.fold.covered() == ["CounterRules a", "CounterRules b"]
    for one, amount in ((ours, 1), (theirs, 2)):
        one.state.evolve(batch(Deposited(account="b", amount_minor=amount)), WHERE)
    assert ours.fold.digest() != theirs.fold.digest()


def test_a_batch_that_touches_nothing_has_no_digest() -> None:
    """There is nothing to compare after it."""
    ours = replica()
    ours.state.evolve(batch(), WHERE)
    assert ours.fold.digest() == b""


def test_a_digest_that_is_ours_passes() -> None:
    """The leader's digest, taken after its batch, is what a replica finds after the same batch."""
    leader, follower = replica(), replica()
    follower.state.evolve(said_by(leader, Deposited(account="a", amount_minor=10)), WHERE)
    assert counted(follower.fold) == counted(leader.fold)
    assert (follower.state.agreement.compared, follower.state.agreement.foreign) == (1, 0)


def said_by(leader: Replayed, *events: Message, number: int = 1) -> EventBatch:
    """A batch with the digest of this leader."""
    said = batch(*events)
    said.batch_no, said.first_seq = number, 10 * number
    leader.fold.apply(said, WHERE)
    said.state_digest = leader.fold.digest()
    return said


def test_a_state_that_differs_names_the_batch() -> None:
    """The first batch after which states differ, its events, what it touched, and the last one that agreed."""
    leader, follower = replica(), replica()
    follower.state.evolve(said_by(leader, Deposited(account="b", amount_minor=1), number=3), WHERE)
    leader.state.evolve(batch(Deposited(account="a", amount_minor=1)), WHERE)
    leader.fold.digest()
    differs = said_by(leader, Deposited(account="a", amount_minor=10), Deposited(account="c"), number=4)
    with pytest.raises(Diverged) as raised:
        follower.state.evolve(differs, WHERE)
    assert str(raised.value).startswith(
        f"{WHERE}: batch 4 (events 40 to 41) is the first after which this replica's state differs from the journal's "
        "digest; batch 3 still agreed; it touched CounterRules a, CounterRules c. "
    )


def test_states_of_another_form_are_not_compared() -> None:
    """A build whose states have other fields writes other digests of the same history: neither of the two is wrong."""
    leader, follower = replica(), replica()
    first = said_by(leader, Deposited(account="a", amount_minor=10), number=1)
    first.state_digest = b"\0\0\0\0" + first.state_digest[4:]
    follower.state.evolve(first, WHERE)
    assert (follower.state.agreement.compared, follower.state.agreement.foreign) == (0, 1)
    leader.state.evolve(batch(Deposited(account="a", amount_minor=1)), WHERE)
    with pytest.raises(Diverged, match="none before it was compared, but 1 from 1 to 1 are of states of another form"):
        follower.state.evolve(said_by(leader, Deposited(account="a", amount_minor=2), number=2), WHERE)


class Inner(State):
    """A part of another state."""

    number: int = 0


class Outer(State):
    """With parts, and a part of its own kind."""

    inner: Inner = msgspec.field(default_factory=Inner)
    more: dict[int, "Outer"] = {}  # noqa: RUF012 - msgspec copies it for each state


class Renamed(State):
    """As `Inner`, by another name."""

    count: int = 0


def test_a_form_is_names_and_types() -> None:
    """It tells apart what is encoded in another way, and is the same in every process."""
    moved = type("Moved", (Inner,), {})
    assert form_of([("a", moved)]) == form_of([("a", Inner)]), "the name of a class is not encoded"
    kinds: list[tuple[str, type[msgspec.Struct]]] = [("a", Inner), ("b", Inner), ("a", Renamed), ("a", Outer)]
    assert len({form_of([kind]) for kind in kinds}) == 4
    assert form_of([("a", Outer)]).hex() == "db6dcec2"


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
