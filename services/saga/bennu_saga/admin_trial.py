"""What a decision would do: made on a copy of one saga, of which nothing is kept."""

from collections.abc import Callable

import msgspec

from bennu.replica.slices import encode
from bennu_saga.fold import Record, SagaFold
from bennu_saga.operations import Operation
from bennu_saga.reactor import Reactor
from bennu_saga.state import SagaState

_decode = msgspec.msgpack.Decoder(SagaState).decode


def try_out(
    fold: SagaFold, saga_id: str, decision: Operation, *, new_reactor: Callable[[SagaFold], Reactor], now_us: int
) -> list[Record]:
    """The records that it would have.  Raises `NotPossible`."""
    return new_reactor(_only(fold, saga_id)).operate(saga_id, decision, now_us)


def _only(fold: SagaFold, saga_id: str) -> SagaFold:
    """A memory of this saga alone, with the numbers that its commands would have."""
    copy, original = SagaFold(), fold.sagas.get(saga_id)
    for destination, last_no in fold.outbox.heads().items():
        copy.outbox.box(destination).last_no = last_no
    if original is not None:
        copy.put(saga_id, _decode(encode(original)))
    return copy
