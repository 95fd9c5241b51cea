"""What a replay keeps together is what a leader kept one by one."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bank.app import app
from bank.v1.events_pb2 import Deposited
from bennu.limits import FEW_ENTRIES
from bennu.replica.bundle import Bundle
from bennu.replica.columns import DIGEST_BYTES, check_columns
from bennu.replica.fold import AggregateFold
from bennu.replica.state import ReplicaState
from bennu.replica.window import ReplyWindow
from bennu.v1.journal_pb2 import EventBatch

NOW_US = 0x0190000F_0000 * 1000


class Entry(NamedTuple):
    """One that was decided: what is kept of it, and its events, of which outcome 0 has the reply first."""

    command_id: str
    digest: bytes
    outcome: int
    reply: bytes
    more_events: Sequence[bytes]

    @property
    def events(self) -> Sequence[bytes]:
        return self.more_events if self.outcome else (self.reply, *self.more_events)


IDS = st.integers(0, 12).map(lambda n: f"{0x0190000F + n % 6:08x}-0000-7000-8000-{n:012x}") | st.text("aB", max_size=3)
USUAL = st.builds(Entry, IDS, st.binary(min_size=16, max_size=16), st.just(0), st.binary(max_size=3), st.just(()))
ANY = st.builds(
    Entry, IDS, st.just(bytes(16)), st.integers(0, 3), st.binary(max_size=3), st.lists(st.binary(max_size=2))
)
BATCHES = st.lists(st.lists(USUAL, max_size=6) | st.lists(ANY, max_size=6), max_size=12)


def journaled(entries: Sequence[Entry]) -> EventBatch:
    """The columns of these."""
    events = list(chain.from_iterable(entry.events for entry in entries))
    batch = EventBatch(
        command_types=["bank.v1.Deposit"],
        event_types=["bank.v1.Deposited"] if events else [],
        command_ids=[entry.command_id for entry in entries],
        payload_digests=b"".join(entry.digest for entry in entries),
        command_type_indexes=[0] * len(entries),
        event_counts=[len(entry.events) for entry in entries],
        outcomes=[entry.outcome for entry in entries],
        replies=[entry.reply for entry in entries if entry.outcome],
        event_type_indexes=[0] * len(events),
        events=events,
    )
    check_columns(batch, "here")
    return batch


def windows(count: int) -> tuple[ReplyWindow, ReplyWindow]:
    """A leader's, and that of who reads what it wrote."""
    found = ReplyWindow(), ReplyWindow()
    for one in found:
        one.count, one.age_us = count, 10**12
    return found


@given(BATCHES, st.integers(1, 8), st.lists(IDS, max_size=4), st.integers(1, 10**7))
def test_what_is_kept_together_is_what_was_kept_one_by_one(
    batches: list[list[Entry]], count: int, asked: list[str], step_us: int
) -> None:
    """Whoever asks for some of it meanwhile, and when an id that was evicted comes again: replies, snapshots, floor."""
    leader, reader = windows(count)
    for number, drawn in enumerate(batches):
        entries = list({entry.command_id: entry for entry in drawn if leader.get(entry.command_id) is None}.values())
        for entry in entries:
            leader.add(entry.command_id, entry.digest, outcome=entry.outcome, reply=entry.reply)
        reader.add_bundle(Bundle(journaled(entries)))
        for one in (leader, reader):
            one.end_batch(NOW_US + number * step_us)
        assert list(reader.dump()) == list(leader.dump())
        assert [reader.get(each) for each in asked] == [leader.get(each) for each in asked]
        assert reader.all_new(asked) == leader.all_new(asked)
    ids = {entry.command_id for entry in chain.from_iterable(batches)}
    assert {each: reader.get(each) for each in ids} == {each: leader.get(each) for each in ids}


def test_an_older_batch_does_not_bring_back_its_reply() -> None:
    """An id that stands in two batches has the reply of the later one, also when the older is asked for others."""
    _, reader = windows(100)
    older = [Entry("a", bytes(16), 0, b"old", ()), Entry("b", bytes(16), 0, b"b", ())]
    for entries in (older, [Entry("a", bytes(16), 0, b"new", ())]):
        reader.add_bundle(Bundle(journaled(entries)))
        reader.end_batch(NOW_US)
    for command_id, reply in (("b", b"b"), ("a", b"new")):
        found = reader.get(command_id)
        assert found is not None
        assert found.reply == reply


EVENT = Deposited(account="a", amount_minor=1, currency="EUR", balance_minor=1).SerializeToString()


@pytest.mark.parametrize(
    ("size", "outcome", "more_events", "together"),
    [
        (1, 0, (), False),
        (FEW_ENTRIES - 1, 0, (), False),
        (FEW_ENTRIES, 0, (), True),
        (2 * FEW_ENTRIES, 0, (), True),
        (2 * FEW_ENTRIES, 0, (EVENT,), False),
        (2 * FEW_ENTRIES, 2, (), False),
    ],
)
def test_replicas_keep_batches_of_any_kind(
    *, size: int, outcome: int, more_events: Sequence[bytes], together: bool
) -> None:
    """Together where there is little in them beside the replies: else what is kept would grow with the events."""
    state = ReplicaState(AggregateFold(app), partition=0, partitions=1)
    state.window.count, state.window.age_us = 10_000, 10**12
    digests = [n.to_bytes(DIGEST_BYTES, "big") for n in range(size)]
    entries = [Entry(f"{n}", digest, outcome, EVENT, more_events) for n, digest in enumerate(digests)]
    state.evolve(journaled(entries), "here")
    assert {type(kept) is Bundle for kept in state.window._replies.values()} == {together}
    found = [state.window.get(entry.command_id) for entry in entries]
    assert [each and tuple(each) for each in found] == [(e.digest, e.outcome, e.reply) for e in entries]
