"""Bytes as a RocketMQ broker writes them."""

import json
import struct
import zlib
from collections.abc import Mapping


def stored(offset: int, body: bytes, *, flags: int = 0, magic: int = -626_843_477) -> bytes:
    """One message as a broker stores it."""
    hosts = [bytes(20 if flags & bit else 8) for bit in (0x10, 0x20)]
    topic, properties = b"t" * 5, b"UNIQ_KEY\x01x"
    topic_length = struct.pack(">h" if magic == -626_843_477 else ">b", len(topic))
    crc = zlib.crc32(body) & 0x7FFFFFFF
    rest = struct.pack(">iiiqqiq", crc, 0, 0, offset, 4096, flags, 1) + hosts[0] + bytes(8) + hosts[1] + bytes(12)
    rest += struct.pack(">i", len(body)) + body + topic_length + topic + struct.pack(">h", len(properties)) + properties
    return struct.pack(">ii", 8 + len(rest), magic) + rest


def answer(code: int, opaque: int, *, fields: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """A server's answer."""
    header = {"code": code, "opaque": opaque, "flag": 1, "remark": "as the test says", "extFields": fields or {}}
    text = json.dumps(header).encode()
    return struct.pack(">ii", 4 + len(text) + len(body), len(text)) + text + body
