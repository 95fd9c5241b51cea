"""What a replica holds in memory: positions, cursors, the reply window, and the domain's own state."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import msgspec
from google.protobuf.message import DecodeError

from bennu.errors import BadSettings
from bennu.replica.agreement import Agreement, Digests
from bennu.replica.bundle import Bundle, kept
from bennu.replica.columns import check_columns
from bennu.replica.history import Judged
from bennu.replica.journal import Verdict
from bennu.replica.slices import Form, Load, Unfit, encode
from bennu.replica.window import ReplyWindow
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu.v1.position_pb2 import LogPosition

_OWN, _WINDOW, _FOLD = b"O", b"W", b"F"
"""Parts of a snapshot: positions, cursors and time; the window; the domain's."""
_decode_own = msgspec.msgpack.Decoder(tuple[int, list[bytes], dict[str, int], dict[str, int]]).decode


class Fold(Digests, Protocol):
    """The domain's part: CServer's aggregates, or Saga's sagas."""

    def apply(self, batch: EventBatch, where: str) -> None:
        """Evolve by the batch's events.  Raises `RecordBroken`, beginning with `where`, for one that can't be applied.

        `UnknownToBuild` for a type that this build does not know, before any event of the batch is applied.
        """

    @property
    def forms(self) -> dict[str, Form]:
        """What the states of each kind look like."""

    def dump(self) -> Iterator[bytes]:
        """Everything that was evolved, as slices; it must stand still until the last one is taken."""

    def load(self, forms: Mapping[str, Form]) -> Load:
        """What puts slices into this fold, which has read nothing.  Raises `Unfit` for states it can't read."""


class ReplicaState:
    """Everything that replay rebuilds.  `fold` is the domain's part."""

    def __init__(self, fold: Fold, *, partition: int, partitions: int) -> None:
        self.fold = fold
        self.partition = partition
        self.partitions = partitions
        self.agreement = Agreement()
        self.recorded_at_us = 0
        self.window = ReplyWindow()
        self.inputs: dict[str, LogPosition] = {}
        self.sources: dict[str, int] = {}
        self.outboxes: dict[str, int] = {}

    def begin_epoch(self, start: EpochStart, where: str) -> None:
        """Take over what an effective EpochStart fixes."""
        if (start.partition, start.partitions) != (self.partition, self.partitions):
            raise BadSettings(
                f"{where}: this journal is partition {start.partition} of {start.partitions}, but this process was "
                f"told that it is {self.partition} of {self.partitions}; the number of partitions is fixed at "
                f"creation: say --partitions {start.partitions}"
            )
        self.recorded_at_us = max(self.recorded_at_us, start.recorded_at_us)
        self.window.count = start.window_count
        self.window.age_us = start.window_age_ms * 1000

    def evolve(self, batch: EventBatch, where: str) -> None:
        """Apply an effective batch.

        Raises `UnknownToBuild` before anything is applied, `RecordBroken`, or `Diverged`: its state digest is not ours.
        """
        check_columns(batch, where)
        self.fold.apply(batch, where)
        if batch.state_digest:
            self.agreement.check(self.fold, batch, where)
        self._keep(batch)
        self.advance(batch)

    def _keep(self, batch: EventBatch) -> None:
        if Bundle.fits(batch):
            self.window.add_bundle(Bundle(batch))
        else:
            self.window.add_batch(batch.command_ids[:], kept(batch))  # once: each reading of the column makes new texts

    def take(self, found: Judged) -> None:
        """The next record of `judged`; one that is void or repeated changes nothing.  Raises as the two above do."""
        if found.verdict is Verdict.EPOCH and isinstance(found.record, EpochStart):
            self.begin_epoch(found.record, found.where)
        elif found.verdict is Verdict.BATCH and isinstance(found.record, EventBatch):
            self.evolve(found.record, found.where)

    def advance(self, batch: EventBatch) -> None:
        """Positions, cursors and time; for the leader, whose domain state is already there."""
        self.recorded_at_us = batch.recorded_at_us
        self.window.end_batch(batch.recorded_at_us)
        for position in batch.inputs:
            self.inputs[position.topic] = position
        for cursor in batch.sources:
            self.sources[cursor.stream] = cursor.last_no
        for cursor in batch.outboxes:
            self.outboxes[cursor.stream] = cursor.last_no

    def input_offset(self, topic: str) -> int:
        """Where to read this input log from."""
        position = self.inputs.get(topic)
        return position.offset if position else 0

    # --- snapshots

    def dump(self) -> Iterator[bytes]:
        """Everything, as slices, each led by a byte that says of what; the state must stand still meanwhile.

        Raises `Unfit` for a state that msgpack has no form for.
        """
        try:
            yield from self._slices()
        except (msgspec.EncodeError, OverflowError, TypeError) as error:
            raise Unfit(f"a state can't be stored: {type(error).__name__}: {error}") from error

    def _slices(self) -> Iterator[bytes]:
        inputs = [position.SerializeToString() for position in self.inputs.values()]
        yield _OWN + encode((self.recorded_at_us, inputs, self.sources, self.outboxes))
        for part, slices in ((_WINDOW, self.window.dump()), (_FOLD, self.fold.dump())):
            for piece in slices:
                yield part + piece

    def load(self, forms: Mapping[str, Form]) -> Load:
        """What puts slices into this state, which has read nothing; `forms` of the fold that made them.

        Raises `Unfit`, here or in a slice; the state is then to be dropped.
        """
        loads = {_OWN: self._load_own, _WINDOW: self.window.load(), _FOLD: self.fold.load(forms)}

        def load(piece: bytes) -> None:
            try:
                loads[piece[:1]](piece[1:])
            except (msgspec.DecodeError, DecodeError, ValueError, LookupError) as error:
                raise Unfit(f"a slice can't be read: {type(error).__name__}: {error}") from error

        return load

    def _load_own(self, piece: bytes) -> None:
        self.recorded_at_us, inputs, self.sources, self.outboxes = _decode_own(piece)
        for position in map(LogPosition.FromString, inputs):
            self.inputs[position.topic] = position
