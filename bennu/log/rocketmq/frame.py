"""RocketMQ's remoting frames: pure functions over bytes.

int32 total (itself excluded) | int32 serialization << 24 | header length | header (JSON) | body
"""

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Mapping
from typing import NamedTuple

from bennu.log.rocketmq.settings import Credentials

MAX_FRAME_BYTES = 16 * 1024 * 1024
MIN_FRAME_BYTES = 4

_LENGTHS = struct.Struct(">ii")
_HEADER_LENGTH = struct.Struct(">i")
_ANSWER_FLAG = 1
_VERSION = 479


class FrameBroken(ValueError):
    """These bytes are no frame: the connection that brought them cannot be used any more."""


class Frame(NamedTuple):
    """One frame, its body still a view into the bytes received."""

    code: int
    opaque: int
    is_answer: bool
    remark: str
    fields: Mapping[str, str]
    body: memoryview


def encode(code: int, opaque: int, *, fields: Mapping[str, str], body: bytes = b"") -> bytes:
    """A request, ready to be written."""
    header = {
        "code": code,
        "language": "PYTHON",
        "version": _VERSION,
        "opaque": opaque,
        "flag": 0,
        "extFields": fields,
        "serializeTypeCurrentRPC": "JSON",
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return _LENGTHS.pack(4 + len(text) + len(body), len(text)) + text + body


def decode(payload: memoryview) -> Frame:
    """The frame whose total length was read already.  Raises `FrameBroken`."""
    if len(payload) < MIN_FRAME_BYTES:
        raise FrameBroken(f"a frame of {len(payload)} bytes")
    (mark,) = _HEADER_LENGTH.unpack_from(payload)
    length = mark & 0xFFFFFF
    if mark >> 24 != 0:
        raise FrameBroken(f"a header of serialization {mark >> 24}, only JSON (0) was asked for")
    if 4 + length > len(payload):
        raise FrameBroken(f"a header of {length} bytes in a frame of {len(payload)}")
    return _frame(_header(bytes(payload[4 : 4 + length])), payload[4 + length :])


def _header(text: bytes) -> dict[str, object]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameBroken(f"a header that is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise FrameBroken("a header that is no JSON object")
    return header


def _frame(header: dict[str, object], body: memoryview) -> Frame:
    code, opaque, flag = header.get("code"), header.get("opaque"), header.get("flag", 0)
    fields = header.get("extFields") or {}
    if not isinstance(code, int) or not isinstance(opaque, int) or not isinstance(flag, int):
        raise FrameBroken("a header without code, opaque or flag")
    if not isinstance(fields, dict):
        raise FrameBroken("extFields that are no JSON object")
    texts = {str(key): str(value) for key, value in fields.items()}
    return Frame(code, opaque, bool(flag & _ANSWER_FLAG), str(header.get("remark") or ""), texts, body)


def signed(fields: Mapping[str, str], *, body: bytes, credentials: Credentials) -> dict[str, str]:
    """The fields with the ACL's two: HMAC-SHA1 over the values in key order (the access key's too) and the body."""
    named = {**fields, "AccessKey": credentials.access_key}
    content = "".join(named[key] for key in sorted(named)).encode() + body
    digest = hmac.digest(credentials.secret_key.encode(), content, hashlib.sha1)
    return {**named, "Signature": base64.b64encode(digest).decode()}
