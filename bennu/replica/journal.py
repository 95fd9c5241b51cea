"""What the log says: the one function that tells an effective record from a void one.

    EpochStart(e)                     e == epoch + 1 → effective      e ≤ epoch → void      else stop
    Batch(e, term, no, prev_digest)   e < epoch → void
                                      e == epoch, same term, no ≤ last → duplicate
                                      e == epoch, same term, no == last + 1, prev_digest == head → effective
                                      else stop

Every reader (leader, follower, QServer, Saga, tools) uses `JournalReader`, so all agree, whatever a deposed, paused
or repeated sender adds later.  See docs/adr/0002 for why this fences without a clock.
"""

import hashlib
from enum import Enum
from typing import NamedTuple

from google.protobuf.message import DecodeError

from bennu.errors import JournalBroken, RecordBroken, UnknownToBuild
from bennu.v1.journal_pb2 import EpochStart, EventBatch, JournalRecord
from bennu.v1.position_pb2 import LogPosition

FORMAT_VERSION = 1
DIGEST_BYTES = 16


class Verdict(Enum):
    """What a record is, in the history a reader has seen."""

    VOID = "void"
    DUPLICATE = "duplicate"
    EPOCH = "epoch"
    BATCH = "batch"


class Position(NamedTuple):
    """Where a reader of a journal stands; everything below `offset` is read."""

    topic: str
    offset: int = 0
    epoch: int = 0
    term: int = 0
    batch_no: int = 0
    next_seq: int = 1
    digest: bytes = b""

    def to_proto(self) -> LogPosition:
        """As it stands in batches."""
        return LogPosition(**self._asdict())

    @classmethod
    def from_proto(cls, position: LogPosition) -> "Position":
        """Inverse of `to_proto`."""
        return cls(*(getattr(position, field) for field in cls._fields))

    @property
    def token(self) -> str:
        """What clients are given as `bennu-position`: comparable within a topic by its number."""
        return f"{self.topic}:{self.batch_no}"


def digest_of(record: bytes) -> bytes:
    """Identity of a record's bytes: BLAKE2b-128."""
    return hashlib.blake2b(record, digest_size=DIGEST_BYTES).digest()


def encode(record: EpochStart | EventBatch) -> bytes:
    """Bytes of a journal record."""
    if isinstance(record, EpochStart):
        return JournalRecord(epoch_start=record).SerializeToString()
    return JournalRecord(batch=record).SerializeToString()


def decode(body: bytes, *, where: str) -> EpochStart | EventBatch:
    """The record in these bytes; `RecordBroken` or `UnknownToBuild`, naming `where`, when it can't be understood."""
    record = JournalRecord()
    try:
        record.ParseFromString(body)
    except DecodeError as error:
        raise RecordBroken(f"{where}: not a journal record ({error})") from error
    kind = record.WhichOneof("record")
    if kind is None:
        raise UnknownToBuild(f"{where}: a journal record of a kind unknown to this version of Bennu")
    found: EpochStart | EventBatch = record.batch if kind == "batch" else record.epoch_start
    if found.format_version != FORMAT_VERSION:
        raise UnknownToBuild(
            f"{where}: journal format {found.format_version}, but this version of Bennu reads format {FORMAT_VERSION}"
        )
    return found


class JournalReader:
    """Follows a journal from a position and says of each record what it is."""

    def __init__(self, position: Position) -> None:
        self.position = position

    def classify(self, offset: int, body: bytes) -> tuple[Verdict, EpochStart | EventBatch]:
        """Decode and judge the next record."""
        record = decode(body, where=f"{self.position.topic}, offset {offset}")
        return self.judge(offset, record, body), record

    def judge(self, offset: int, record: EpochStart | EventBatch, body: bytes) -> Verdict:
        """Take the next record, decoded from `body`; the position moves past it.

        Raises `JournalBroken` (an order that no legal history gives); the position stays then.
        """
        position = self.position
        where = f"{position.topic}, offset {offset}"
        if offset != position.offset:
            raise JournalBroken(f"{where}: expected offset {position.offset}; the log must not skip or repeat")
        if isinstance(record, EpochStart):
            verdict = self._epoch(record, where)
        else:
            verdict = self._batch(record, body, where)
        self.position = self.position._replace(offset=offset + 1)
        return verdict

    def _epoch(self, start: EpochStart, where: str) -> Verdict:
        if start.epoch <= self.position.epoch:
            return Verdict.VOID
        if start.epoch > self.position.epoch + 1:
            raise JournalBroken(f"{where}: epoch {start.epoch} starts, but the last one was {self.position.epoch}")
        self.position = self.position._replace(epoch=start.epoch, term=start.term)
        return Verdict.EPOCH

    def _batch(self, batch: EventBatch, body: bytes, where: str) -> Verdict:
        last = self.position
        if batch.epoch < last.epoch:
            return Verdict.VOID
        if batch.epoch > last.epoch or batch.term != last.term:
            raise JournalBroken(
                f"{where}: batch of epoch {batch.epoch}, term {batch.term:x}, but epoch {last.epoch} "
                f"of term {last.term:x} is the last that started"
            )
        if batch.batch_no <= last.batch_no:
            return Verdict.DUPLICATE
        if batch.batch_no != last.batch_no + 1:
            raise JournalBroken(f"{where}: batch {batch.batch_no} follows batch {last.batch_no}; one is missing")
        if batch.prev_digest != last.digest:
            raise JournalBroken(f"{where}: batch {batch.batch_no} does not continue the digest chain")
        if batch.first_seq != last.next_seq:
            raise JournalBroken(f"{where}: events begin at {batch.first_seq}, expected {last.next_seq}")
        self.position = last._replace(
            batch_no=batch.batch_no, next_seq=last.next_seq + len(batch.events), digest=digest_of(body)
        )
        return Verdict.BATCH
