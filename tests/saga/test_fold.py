"""Replay: what the journal of a partition of sagas makes of memory."""

from collections.abc import Sequence
from random import Random

import pytest

from bank.v1.events_pb2 import TransferRequested
from bennu.errors import JournalBroken, RecordBroken, UnknownToBuild
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.position_pb2 import StreamCursor
from bennu.v1.saga_pb2 import SagaCommandAnswered, SagaCommandIssued, SagaStarted
from bennu_saga.fold import Record, SagaFold
from tests.saga.story import Story

WHERE = "bank-saga-0, offset 9"
COMMANDS = "bank-commands-0"
SEED = 20261125


def batch_of(records: Sequence[Record], *, recorded_at_us: int = 0) -> EventBatch:
    """A batch that says just this."""
    types = list(dict.fromkeys(record.DESCRIPTOR.full_name for record in records))
    return EventBatch(
        batch_no=3,
        recorded_at_us=recorded_at_us,
        event_types=types,
        event_type_indexes=[types.index(record.DESCRIPTOR.full_name) for record in records],
        events=[record.SerializeToString() for record in records],
    )


def replayed(records: Sequence[Record]) -> SagaFold:
    """A fold that knows nothing but these."""
    fold = SagaFold()
    fold.apply(batch_of(records), WHERE)
    return fold


def replay(story: Story, part: slice, *, onto: SagaFold) -> None:
    """What was recorded, each at its time."""
    for record, recorded_at_us in zip(story.records[part], story.times_us[part], strict=True):
        onto.apply(batch_of([record], recorded_at_us=recorded_at_us), WHERE)


def memory_of(fold: SagaFold) -> tuple[object, ...]:
    """All that replay makes, outboxes aside."""
    derived = fold.failed, fold.parked, {key: list(ids) for key, ids in fold.by_definition.items() if ids}
    return fold.sagas, fold.awaiting, *derived, fold.counts, fold.parts, fold.next_timer()


def some_day(seed: int) -> Story:
    """Many sagas under way, each answered, refused, or given up as chance has it."""
    chance, story = Random(seed), Story(partitions=2)
    for number in range(30):
        asked = TransferRequested(transfer=f"t{number}", source=f"a{number}", target="b", amount_minor=1)
        story.starts(asked)
    for _ in range(200):
        if not story.fold.awaiting:
            break
        command_id = chance.choice(sorted(story.fold.awaiting))
        if chance.random() < 0.1 and story.fold.next_timer():
            story.times_out()
        elif chance.random() < 0.7:
            story.accepts(command_id)
        else:
            story.refuses("no", command_id)
    return story


@pytest.mark.parametrize("seed", range(SEED, SEED + 10))
def test_a_replay_gives_what_the_leader_has(seed: int) -> None:
    """States, awaited commands, outbox, timers, counts and digest are the same; what was asked of boxes is no part."""
    print(f"seed {seed}")
    story = some_day(seed)
    story.fold.outbox.box("bank-commands-7")  # a leader has a box for each log, also for one it never sent to
    fold = SagaFold()
    replay(story, slice(None), onto=fold)
    assert memory_of(fold) == memory_of(story.fold)
    assert fold.outbox.heads() == story.fold.outbox.heads()
    assert {name: box.unconfirmed for name, box in fold.outbox.boxes.items()} == {
        name: box.unconfirmed for name, box in story.fold.outbox.boxes.items() if box.last_no
    }
    assert fold.digest() == story.fold.digest()


def test_a_digest_tells_states_apart() -> None:
    """A replica that took an answer for a refusal has another one."""
    story = Story()
    story.starts()
    story.accepts()
    other = Story()
    other.starts()
    other.refuses("no")
    assert story.fold.digest() != other.fold.digest()


def test_a_receipt_empties_the_outbox() -> None:
    """What a command log confirmed in this batch or before need not be sent; numbers go on after it."""
    story = Story()
    story.starts()
    batch = batch_of(story.records)
    batch.outboxes.append(StreamCursor(stream=COMMANDS, last_no=1))
    fold = SagaFold()
    fold.apply(batch, WHERE)
    assert len(fold.outbox) == 0
    assert fold.outbox.heads() == {COMMANDS: 1}


def test_an_answered_command_has_no_timer() -> None:
    """A timer that nobody waits for is gone."""
    story = Story()
    story.starts()
    assert story.fold.next_timer() is not None
    story.accepts()
    assert story.fold.next_timer() is None


def test_an_unknown_record_stops_the_reader() -> None:
    """A record of a later version of Bennu is not skipped; topic, offset and type are named."""
    batch = EventBatch(event_types=["bennu.v1.SagaPaused"], event_type_indexes=[0], events=[b""])
    with pytest.raises(UnknownToBuild, match=rf"{WHERE}: bennu\.v1\.SagaPaused"):
        SagaFold().apply(batch, WHERE)


def test_a_broken_record_stops_the_reader() -> None:
    """Bytes that are no message, or a column that points nowhere, are named by their place."""
    unreadable = batch_of([SagaStarted(saga_id="s")])
    unreadable.events[0] = b"\xff"
    nowhere = batch_of([SagaStarted(saga_id="s")])
    nowhere.event_type_indexes[0] = 1
    for batch in (unreadable, nowhere):
        with pytest.raises(RecordBroken, match=rf"{WHERE}: batch 3"):
            SagaFold().apply(batch, WHERE)


def test_an_answer_to_nobody_stops_the_reader() -> None:
    """No legal history speaks of a saga that is not under way."""
    with pytest.raises(RecordBroken, match=rf"{WHERE}: batch 3 speaks of"):
        replayed([SagaCommandAnswered(saga_id="s", command_id="c", accepted=True)])


def test_a_gap_in_the_numbers_stops_the_reader() -> None:
    """A command that is missing in the outbox would be missing in its log."""
    issued = SagaCommandIssued(saga_id="s", destination=COMMANDS, no=2, command_id="c")
    with pytest.raises(JournalBroken, match=rf"{WHERE}: batch 3: {COMMANDS}: command 2 was issued after 0"):
        replayed([SagaStarted(saga_id="s"), issued])
