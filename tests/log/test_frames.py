"""RocketMQ's frames and stored messages: any bytes give what was written, or a named error, never wrong data."""

import gzip
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bennu.errors import BadSettings, RecordBroken
from bennu.log.port import MAX_RECORD_BYTES, Record
from bennu.log.rocketmq.frame import Frame, FrameBroken, decode, encode, signed
from bennu.log.rocketmq.messages import decode as decode_messages
from bennu.log.rocketmq.settings import Credentials, parse
from tests.log.fake_broker import answer, stored


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_named_broken(data: bytes) -> None:
    """No input makes the decoder fail otherwise."""
    with suppress(FrameBroken):
        assert isinstance(decode(memoryview(data)), Frame)


@given(st.integers(0, 1000), st.data())
def test_a_frame_cut_off_or_changed_is_a_frame_or_named_broken(opaque: int, data: st.DataObject) -> None:
    """Nor does a damaged real one."""
    whole = bytearray(answer(0, opaque, fields={"offset": "7"}, body=b"body")[4:])
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(FrameBroken):
        decode(memoryview(whole)[: data.draw(st.integers(0, len(whole)))])


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9)), st.binary(max_size=99))
def test_a_request_can_be_read_back(fields: dict[str, str], body: bytes) -> None:
    """What we write is what we would read."""
    data = encode(11, 3, fields=fields, body=body)
    frame = decode(memoryview(data)[4:])
    assert (frame.code, frame.opaque, frame.fields, bytes(frame.body)) == (11, 3, fields, body)
    assert not frame.is_answer


def test_the_signature_is_over_all_values_in_key_order_and_the_body() -> None:
    """The signature equals openssl's over the same text."""
    fields = signed({"topic": "t", "queueId": "0"}, body=b"b", credentials=Credentials("key", "secret"))
    assert fields["AccessKey"] == "key"
    # echo -n 'key0tb' | openssl dgst -sha1 -hmac secret -binary | base64
    assert fields["Signature"] == "r+OOTVBix0mBd5r+KgWRSTe8Euc="


_BODIES = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5)


@given(_BODIES, st.sampled_from([0, 0x10, 0x20, 0x30]), st.sampled_from([-626_843_477, -626_843_481]))
def test_stored_messages_of_every_layout_become_records(bodies: list[bytes], flags: int, magic: int) -> None:
    """Both magics, and IPv4 and IPv6 hosts in any mixture."""
    data = b"".join(stored(7 + n, body, flags=flags, magic=magic) for n, body in enumerate(bodies))
    assert decode_messages(memoryview(data), topic="t", offset=7) == [(7 + n, body) for n, body in enumerate(bodies)]


@settings(max_examples=500)
@given(_BODIES, st.data())
def test_changed_bytes_never_become_wrong_records(bodies: list[bytes], data: st.DataObject) -> None:
    """Whatever survives a changed byte and a cut is a prefix of what was written."""
    raw = bytearray(b"".join(stored(n, body) for n, body in enumerate(bodies)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(1, len(raw)))
    with suppress(RecordBroken):
        records = decode_messages(memoryview(raw)[:cut], topic="t", offset=0)
        assert records == [Record(n, body) for n, body in enumerate(bodies)][: len(records)]


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
def test_compressed_bodies_are_opened(compress: Callable[[bytes], bytes]) -> None:
    """Another team's producer may have compressed."""
    data = stored(0, compress(b"x" * 5000), flags=1)
    assert decode_messages(memoryview(data), topic="t", offset=0) == [(0, b"x" * 5000)]


def test_a_compressed_bomb_is_a_broken_record() -> None:
    """A body is never inflated past the limit of a record."""
    with pytest.raises(RecordBroken, match="too large"):
        decode_messages(memoryview(stored(0, zlib.compress(bytes(MAX_RECORD_BYTES + 1)), flags=1)), topic="t", offset=0)


@pytest.mark.parametrize(
    "url",
    [
        "rocketmq:",
        "rocketmq://",
        "rocketmq://host",
        "rocketmq://host:x",
        "rocketmq://host:0",
        "rocketmq://:1",
        "rocketmq://key:secret@host:1",
        "rocketmq://host:1/path",
        "rocketmq://host:1?namesrv=nowhere",
        "rocketmq://host:1?nameserver=host:2",
        "rocketmq://host:1?mode=both",
        "rocketmq://host:1?mode=local",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_repeating_a_secret(url: str) -> None:
    """A wrong URL fails at start, and a secret in it is not printed."""
    with pytest.raises(BadSettings) as refused:
        parse(url, access_key=None, secret_key=None)
    assert "secret@" not in str(refused.value)


def test_settings_never_show_the_secret() -> None:
    """Neither the settings nor the credentials print what they hold."""
    given = parse("rocketmq://[::1]:8080?namesrv=h:2", access_key="key", secret_key="hidden")
    assert str(given.proxy) == "[::1]:8080"
    assert given.reads_at == given.proxy
    assert "hidden" not in repr(given) + repr(given.credentials)
    with pytest.raises(BadSettings):
        parse("rocketmq://h:1", access_key="key", secret_key=None)
