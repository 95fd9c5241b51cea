"""The body of a PULL answer: messages as the broker stores them, decoded to records.  Pure functions over bytes."""

import struct
import zlib

from bennu.errors import RecordBroken
from bennu.log.port import MAX_RECORD_BYTES, Record

# size, magic, body crc, queue, flag | queue offset, physical offset | sys flag
_HEAD = struct.Struct(">iiiiiqqi")
_INT = struct.Struct(">i")
_MAGIC_V1 = -626_843_481
_MAGIC_V2 = -626_843_477
_COMPRESSED = 0x1
_BORN_IPV6 = 0x10
_STORE_IPV6 = 0x20
_CRC_MASK = 0x7FFFFFFF
_FIXED_TAIL_BYTES = 8 + 8 + 8 + 8 + 4 + 8  # born time, born host, store time, store host, reconsumed, prepared


def decode(stored: memoryview, *, topic: str, offset: int) -> list[Record]:
    """The records of one answer; the first must have `offset`, the rest must follow without a gap.

    Good records before a broken one are handed out; a broken first one raises `RecordBroken`.
    """
    records: list[Record] = []
    position = 0
    try:
        while position < len(stored):
            record, position = _one(stored, position, expected=offset + len(records))
            records.append(record)
    except (ValueError, struct.error, zlib.error) as error:
        if not records:
            raise RecordBroken(f"{topic}: the record at offset {offset} is broken: {error}") from error
    return records


def _one(stored: memoryview, position: int, *, expected: int) -> tuple[Record, int]:
    size, magic, crc, queue, _, offset, _, flags = _HEAD.unpack_from(stored, position)
    end = position + size
    if magic not in (_MAGIC_V1, _MAGIC_V2) or queue != 0 or size < _HEAD.size or end > len(stored):
        raise ValueError(f"no message of a log (magic {magic}, queue {queue}, {size} bytes of {len(stored)})")
    if offset != expected:
        raise ValueError(f"offset {offset} stands there")
    at = position + _HEAD.size + _FIXED_TAIL_BYTES
    if flags & (_BORN_IPV6 | _STORE_IPV6):
        at += 12 * bool(flags & _BORN_IPV6) + 12 * bool(flags & _STORE_IPV6)
    (length,) = _INT.unpack_from(stored, at)
    if length < 0 or at + 4 + length > end:
        raise ValueError(f"a body of {length} bytes in a message of {size}")
    body = stored[at + 4 : at + 4 + length]
    if zlib.crc32(body) & _CRC_MASK != crc:
        raise ValueError("its checksum differs")
    return Record(offset, inflate(body) if flags & _COMPRESSED else bytes(body)), end


def inflate(body: memoryview) -> bytes:
    """The bytes of a compressed body, zlib's or gzip's; never more than a record may have.  Raises `ValueError`."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: tells zlib from gzip by the header
    whole = inflater.decompress(body, MAX_RECORD_BYTES + 1)
    if not inflater.eof or len(whole) > MAX_RECORD_BYTES:
        raise ValueError("its compressed body is cut off or too large")
    return whole
