"""A fold of sagas that was stored goes on as the one that was not."""

from collections.abc import Sequence

import pytest

from bennu.replica.slices import Form, Unfit
from bennu.replica.state import ReplicaState
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.position_pb2 import StreamCursor
from bennu.v1.saga_pb2 import SagaInputPart
from bennu_saga.fold import Record, SagaFold
from bennu_saga.state import STATE_VERSION
from tests.saga.test_fold import SEED, WHERE, batch_of, memory_of, replay, some_day


def stored(fold: SagaFold) -> SagaFold:
    """Another one, from its slices, as a snapshot holds them."""
    state, found = ReplicaState(fold, partition=0, partitions=1), SagaFold()
    load = ReplicaState(found, partition=0, partitions=1).load(fold.forms)
    for piece in state.dump():
        load(piece)
    return found


def confirmed(records: Sequence[Record], destination: str, last_no: int) -> EventBatch:
    """A batch of these, in which receipts came for some commands."""
    batch = batch_of(records)
    batch.outboxes.append(StreamCursor(stream=destination, last_no=last_no))
    return batch


@pytest.mark.parametrize("seed", range(SEED, SEED + 10))
def test_a_stored_fold_goes_on_as_the_other(seed: int) -> None:
    """From half a day on, with commands unconfirmed and timers running: the same states, outbox, timers and digest."""
    print(f"seed {seed}")
    story, whole = some_day(seed), SagaFold()
    half = len(story.records) // 2
    replay(story, slice(half), onto=whole)
    whole.apply(confirmed([SagaInputPart(topic="bank-events-1", batch_no=4)], "bank-commands-0", 3), WHERE)
    found = stored(whole)
    assert len(found.outbox) == len(whole.outbox) > 0
    for fold in (whole, found):
        replay(story, slice(half, None), onto=fold)
        fold.apply(confirmed([], "bank-commands-1", 5), WHERE)
    assert memory_of(found) == memory_of(whole)
    assert {name: (box.last_no, box.bytes, list(box.unconfirmed)) for name, box in found.outbox.boxes.items()} == {
        name: (box.last_no, box.bytes, list(box.unconfirmed)) for name, box in whole.outbox.boxes.items()
    }
    assert found.digest() == whole.digest()


def test_sagas_of_another_version_are_not_taken() -> None:
    """A snapshot of them is passed over."""
    with pytest.raises(Unfit, match="another version of Bennu"):
        SagaFold().load({"saga": Form(1, SagaFold.form)})
    with pytest.raises(Unfit, match="another version of Bennu"):
        SagaFold().load({"saga": Form(STATE_VERSION, b"else")})
