"""The bytes of a segment: a header, contiguous records, and once sealed a footer.  Every byte is under a checksum.

    header   magic, format version, first offset, time made, sizes, CRC-32; topic, what is carried from before, CRC-32
    record   length, offset, CRC-32 of the body, CRC-32 of these three; the body
    footer   as a record of length 0 (none is empty) whose body is: number of records, BLAKE2b-128 of all bytes before

Integers are big-endian.  A reader is told where to end, so what a killed writer left behind that is not looked at.
Anything before it that does not fit is broken, is named, and is never passed over.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple

from bennu.archive.limits import CARRIED_BYTES
from bennu.errors import RecordBroken
from bennu.log.port import MAX_RECORD_BYTES, Record

FORMAT_VERSION = 1
DIGEST_BYTES = 16

_MAGIC = b"BENNUSEG"
_HEAD = struct.Struct(">8sHQQHI")
_FRAME = struct.Struct(">IQI")
_CRC = struct.Struct(">I")
_FOOTER = struct.Struct(f">Q{DIGEST_BYTES}s")
_FRAME_BYTES = _FRAME.size + _CRC.size


class Header(NamedTuple):
    """What a segment says of itself."""

    topic: str
    first: int
    made_at_ms: int
    carried: bytes
    """What the archiver knew of the history before `first`."""

    def encode(self) -> bytes:
        """As it stands at the beginning of the file."""
        topic = self.topic.encode()
        assert len(self.carried) <= CARRIED_BYTES, "what is carried is bounded by the number of an app's topics"
        head = _HEAD.pack(_MAGIC, FORMAT_VERSION, self.first, self.made_at_ms, len(topic), len(self.carried))
        return _with_crc(head) + _with_crc(topic + self.carried)


def new_digest() -> "hashlib.blake2b":
    """Of all bytes before the footer."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


def frames(records: Sequence[Record]) -> bytes:
    """Records as they stand in a segment."""
    parts: list[bytes] = []
    for offset, body in records:
        parts += (_frame_head(offset, body, length=len(body)), body)
    return b"".join(parts)


def footer(count: int, next_offset: int, digest: bytes) -> bytes:
    """The end of a sealed segment."""
    body = _FOOTER.pack(count, digest)
    return _frame_head(next_offset, body, length=0) + body


def _frame_head(offset: int, body: bytes, *, length: int) -> bytes:
    return _with_crc(_FRAME.pack(length, offset, zlib.crc32(body)))


def _with_crc(content: bytes) -> bytes:
    return content + _CRC.pack(zlib.crc32(content))


class Segment:
    """A segment being read from its beginning.  Blocks; raises `RecordBroken` naming file and offset."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        """Reads the header."""
        self.where = where
        self._file = file
        self.digest = new_digest()
        """Of all that was read with checks."""
        self.header = self._read_header()
        self.next_offset = self.header.first
        self.size = file.tell()
        """Bytes before the next record."""

    def records(self, start: int, end: int) -> Iterator[Record]:
        """Those from `start` to before `end`; what lies before is stepped over, not checked."""
        while self.next_offset < end:
            found = self._next(skip_below=start, checked=False)
            if found.offset >= start:
                yield found

    def checked_records(self, end: int) -> Iterator[Record]:
        """All before `end`, with every byte looked at."""
        while self.next_offset < end:
            yield self._next(skip_below=0, checked=True)

    def check_footer(self) -> None:
        """After a checked read: here the segment ends, sealed, and its digest is that of what was read."""
        head, body = self._file.read(_FRAME_BYTES), self._file.read(_FOOTER.size)
        if len(body) < _FOOTER.size or not _crc_fits(head) or self._file.read(1):
            raise self._broken("here must stand the footer, and nothing behind it")
        length, offset, crc = _FRAME.unpack_from(head)
        if length or offset != self.next_offset or zlib.crc32(body) != crc:
            raise self._broken("here must stand the footer, and it is another one")
        if _FOOTER.unpack(body) != (self.next_offset - self.header.first, self.digest.digest()):
            raise self._broken("number or digest in the footer are not those of the records")

    def _next(self, *, skip_below: int, checked: bool) -> Record:
        head = self._file.read(_FRAME_BYTES)
        if len(head) < _FRAME_BYTES or not _crc_fits(head):
            raise self._broken(
                "the head of the record is cut off" if len(head) < _FRAME_BYTES else "its head is spoilt"
            )
        length, offset, crc = _FRAME.unpack_from(head)
        if not length:
            raise self._broken("the segment ends here, and the one that goes on is missing")
        if offset != self.next_offset or length > MAX_RECORD_BYTES:
            raise self._broken(f"here stand {length} bytes for offset {offset}")
        if offset < skip_below:
            self._file.seek(length, os.SEEK_CUR)
            return self._passed(Record(offset, b""), length)
        body = self._file.read(length)
        if len(body) < length or zlib.crc32(body) != crc:
            raise self._broken("the record is cut off" if len(body) < length else "the record's checksum is wrong")
        if checked:
            self.digest.update(head)
            self.digest.update(body)
        return self._passed(Record(offset, body), length)

    def _passed(self, record: Record, length: int) -> Record:
        self.size += _FRAME_BYTES + length
        self.next_offset += 1
        return record

    def _read_header(self) -> Header:
        head = self._file.read(_HEAD.size + _CRC.size)
        if len(head) < _HEAD.size + _CRC.size or not _crc_fits(head):
            raise RecordBroken(f"{self.where}: the header is spoilt")
        magic, version, first, made_at_ms, topic_bytes, carried_bytes = _HEAD.unpack_from(head)
        if magic != _MAGIC or version != FORMAT_VERSION:
            raise RecordBroken(f"{self.where}: no segment of format {FORMAT_VERSION}, but {magic!r} {version}")
        rest = self._file.read(topic_bytes + carried_bytes + _CRC.size)
        if len(rest) < topic_bytes + carried_bytes + _CRC.size or not _crc_fits(rest):
            raise RecordBroken(f"{self.where}: the header is spoilt")
        self.digest.update(head + rest)
        return Header(rest[:topic_bytes].decode(), first, made_at_ms, rest[topic_bytes : -_CRC.size])

    def _broken(self, why: str) -> RecordBroken:
        return RecordBroken(f"{self.where}, offset {self.next_offset}: {why}")


def _crc_fits(content: bytes) -> bool:
    return content[-_CRC.size :] == _CRC.pack(zlib.crc32(content[: -_CRC.size]))
