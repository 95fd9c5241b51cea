"""The bytes of a segment: a header, contiguous records, and once sealed a footer.  Every byte is under a checksum.

    header   magic, format version, first offset, time made, sizes, CRC-32; topic, what is carried from before, CRC-32
    record   length, offset, CRC-32 of the body, CRC-32 of these three; the body
    footer   as a record of length 0 (none is empty) whose body is: number of records, BLAKE2b-128 of all bytes before

Integers are big-endian.  While a segment is open its end may be torn: a record of which only a part came to the disk,
or a hole of zeros.  Anything else that does not fit is broken, is named, and is never passed over.
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
NEVER = 1 << 64
"""Beyond any offset."""

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


class Torn(Exception):
    """The header did not come to the disk whole, so there is no record."""


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

    def __init__(self, file: BinaryIO, where: str, *, sealed: bool) -> None:
        """Reads the header.  Raises `Torn` for one that is not whole, of a segment that is not sealed."""
        self.where = where
        self._file = file
        self._sealed = sealed
        self._footer_digest = b""
        self.digest = new_digest()
        """Of what is whole, after a checked read."""
        self.header = self._read_header()
        self.next_offset = self.header.first
        self.good_bytes = file.tell()
        """Size of what is whole."""
        self.complete = False
        """Whether the footer was read."""

    def records(self, start: int = 0) -> Iterator[Record]:
        """Those from `start` on; what lies before is stepped over, not checked."""
        while (found := self._next(skip_below=start, checked=False)) is not None:
            if found.offset >= start:
                yield found

    def find_end(self) -> int:
        """Offset after the last record that is whole."""
        while self._next(skip_below=NEVER, checked=False) is not None:
            pass
        return self.next_offset

    def checked_records(self) -> Iterator[Record]:
        """All of them, with every byte looked at, and the digest compared at the end."""
        while (found := self._next(skip_below=0, checked=True)) is not None:
            yield found
        if self.complete and self.digest.digest() != self._footer_digest:
            raise self._broken("the digest in the footer is not that of the records")

    def _next(self, *, skip_below: int, checked: bool) -> Record | None:
        head = self._file.read(_FRAME_BYTES)
        if len(head) < _FRAME_BYTES:
            return self._end()
        length, offset, crc = _FRAME.unpack_from(head)
        if not _crc_fits(head):
            if self._is_hole(head):
                return None
            raise self._broken("the head of the record is spoilt")
        if offset != self.next_offset or length > MAX_RECORD_BYTES:
            raise self._broken(f"here stands a record of {length} bytes for offset {offset}")
        if not length:
            return self._finish(crc)
        if offset < skip_below:
            return self._skipped(offset, length)
        body = self._file.read(length)
        if len(body) < length:
            return self._end()
        if zlib.crc32(body) != crc:
            raise self._broken("the record's checksum is wrong")
        if checked:
            self.digest.update(head)
            self.digest.update(body)
        return self._advanced(Record(offset, body), length)

    def _skipped(self, offset: int, length: int) -> Record | None:
        self._file.seek(length - 1, os.SEEK_CUR)
        return self._advanced(Record(offset, b""), length) if self._file.read(1) else self._end()

    def _advanced(self, record: Record, length: int) -> Record:
        self.good_bytes += _FRAME_BYTES + length
        self.next_offset += 1
        return record

    def _finish(self, crc: int) -> Record | None:
        body = self._file.read(_FOOTER.size)
        if len(body) < _FOOTER.size:
            return self._end()
        count, self._footer_digest = _FOOTER.unpack(body)
        if zlib.crc32(body) != crc or count != self.next_offset - self.header.first or self._file.read(1):
            raise self._broken("the footer is spoilt")
        self.good_bytes += _FRAME_BYTES + _FOOTER.size
        self.complete = True
        return None

    def _end(self) -> Record | None:
        if self._sealed:
            raise self._broken("the file ends before its footer does")
        return None

    def _is_hole(self, head: bytes) -> bool:
        """Whether only zeros follow, as a power cut may leave them at the end of a file that grew."""
        return not self._sealed and not any(head) and not any(self._file.read())

    def _read_header(self) -> Header:
        head = self._file.read(_HEAD.size + _CRC.size)
        if len(head) == _HEAD.size + _CRC.size and not _crc_fits(head) and not self._is_hole(head):
            raise RecordBroken(f"{self.where}: the header is spoilt")
        if len(head) < _HEAD.size + _CRC.size or not any(head):
            raise self._torn_header()
        magic, version, first, made_at_ms, topic_bytes, carried_bytes = _HEAD.unpack_from(head)
        if magic != _MAGIC or version != FORMAT_VERSION:
            raise RecordBroken(f"{self.where}: no segment of format {FORMAT_VERSION}, but {magic!r} {version}")
        rest = self._file.read(topic_bytes + carried_bytes + _CRC.size)
        if len(rest) < topic_bytes + carried_bytes + _CRC.size:
            raise self._torn_header()
        if not _crc_fits(rest):
            raise RecordBroken(f"{self.where}: the header is spoilt")
        self.digest.update(head + rest)
        return Header(rest[:topic_bytes].decode(), first, made_at_ms, rest[topic_bytes : -_CRC.size])

    def _torn_header(self) -> Exception:
        return RecordBroken(f"{self.where}: the file ends within its header") if self._sealed else Torn()

    def _broken(self, why: str) -> RecordBroken:
        return RecordBroken(f"{self.where}, offset {self.next_offset}: {why}")


def _crc_fits(content: bytes) -> bool:
    return content[-_CRC.size :] == _CRC.pack(zlib.crc32(content[: -_CRC.size]))
