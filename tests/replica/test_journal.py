"""The one function that says what the log says: each line of its table, both ways."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bennu.errors import JournalBroken, RecordBroken, UnknownToBuild
from bennu.replica.journal import JournalReader, Position, Verdict, decode, digest_of, encode
from bennu.v1.journal_pb2 import EpochStart, EventBatch, JournalRecord

HEAD = b"h" * 16
HERE = Position("bank-events-0", offset=7, epoch=3, term=0xA, batch_no=5, next_seq=11, digest=HEAD)
"""A reader in epoch 3 that has read batch 5."""


def start(epoch: int, term: int = 0xB) -> EpochStart:
    """A candidate's claim."""
    return EpochStart(format_version=1, epoch=epoch, term=term)


def batch(  # a row of the table
    epoch: int = 3, term: int = 0xA, *, no: int = 6, digest: bytes = HEAD, seq: int = 11
) -> EventBatch:
    """The next batch, but for what a test says."""
    return EventBatch(
        format_version=1, epoch=epoch, term=term, batch_no=no, prev_digest=digest, first_seq=seq, events=[b"x", b"y"]
    )


class Row(NamedTuple):
    """A line of the table."""

    record: EpochStart | EventBatch
    verdict: Verdict | None
    """None: the reader stops."""


TABLE = {
    "the next epoch": Row(start(4), Verdict.EPOCH),
    "this epoch again": Row(start(3), Verdict.VOID),
    "this epoch, same term": Row(start(3, 0xA), Verdict.VOID),
    "an epoch before": Row(start(2), Verdict.VOID),
    "an epoch skipped": Row(start(5), None),
    "the next batch": Row(batch(), Verdict.BATCH),
    "a batch of an epoch before": Row(batch(2), Verdict.VOID),
    "a batch of an epoch before, with the next number": Row(batch(2, 0xC, no=6, digest=b"?"), Verdict.VOID),
    "a batch of an epoch to come": Row(batch(4), None),
    "another term of this epoch": Row(batch(term=0xC), None),
    "another term, an old number": Row(batch(term=0xC, no=5), None),
    "the last batch again": Row(batch(no=5), Verdict.DUPLICATE),
    "an older batch again": Row(batch(no=1, digest=b"?", seq=1), Verdict.DUPLICATE),
    "a number skipped": Row(batch(no=7), None),
    "another chain": Row(batch(digest=b"?" * 16), None),
    "events skipped": Row(batch(seq=12), None),
    "events repeated": Row(batch(seq=10), None),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_a_record_is_judged_by_the_table(row: Row) -> None:
    """Effective, void, duplicate or the end; what is void moves the offset alone, what is broken not even that."""
    reader, body = JournalReader(HERE), encode(row.record)
    if row.verdict is None:
        with pytest.raises(JournalBroken, match="bank-events-0, offset 7: "):
            reader.classify(7, body)
        assert reader.position == HERE
        return
    assert reader.classify(7, body) == (row.verdict, row.record)
    passed = HERE._replace(offset=8)
    expected = {
        Verdict.EPOCH: passed._replace(epoch=4, term=0xB),
        Verdict.BATCH: passed._replace(batch_no=6, next_seq=13, digest=digest_of(body)),
    }
    assert reader.position == expected.get(row.verdict, passed)


@pytest.mark.parametrize("offset", [0, 6, 8])
def test_a_record_out_of_place_is_an_end(offset: int) -> None:
    """The log neither skips nor repeats."""
    reader = JournalReader(HERE)
    with pytest.raises(JournalBroken, match="expected offset 7"):
        reader.classify(offset, encode(batch()))
    assert reader.position == HERE


def test_an_epoch_keeps_the_chain() -> None:
    """Numbers, events and digests go on across epochs: the new leader's first batch continues the old one's last."""
    reader = JournalReader(HERE)
    reader.classify(7, encode(start(4)))
    assert reader.classify(8, encode(batch(4, 0xB)))[0] is Verdict.BATCH
    assert reader.classify(9, encode(batch(3, no=7)))[0] is Verdict.VOID


@pytest.mark.parametrize(
    ("body", "kind", "reason"),
    [
        (b"\xff" * 9, RecordBroken, "not a journal record"),
        (b"\x1a\x00", UnknownToBuild, "of a kind unknown"),
        (JournalRecord().SerializeToString(), UnknownToBuild, "of a kind unknown"),
        (JournalRecord(batch=EventBatch(format_version=2)).SerializeToString(), UnknownToBuild, "journal format 2"),
        (JournalRecord(epoch_start=EpochStart()).SerializeToString(), UnknownToBuild, "journal format 0"),
    ],
)
def test_bytes_that_are_no_record_are_named(body: bytes, kind: type[RecordBroken], reason: str) -> None:
    """Garbage is told from a record that another build may understand; both are an end, with its place."""
    with pytest.raises(RecordBroken, match=f"^here: .*{reason}") as raised:
        decode(body, where="here")
    assert type(raised.value) is kind


@given(st.binary(max_size=100))
def test_only_a_broken_record_comes_out_of_bad_bytes(body: bytes) -> None:
    """Random bytes are a record that can be judged, or `RecordBroken`."""
    try:
        record = decode(body, where="here")
    except RecordBroken:
        return
    assert record.format_version == 1


def test_a_position_survives_its_journey() -> None:
    """In batches and snapshots a position is whole."""
    assert Position.from_proto(HERE.to_proto()) == HERE
    assert HERE.token == "bank-events-0:5"
