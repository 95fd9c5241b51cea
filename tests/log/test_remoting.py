"""The remoting client against bytes that no honest server sends: named errors, never a hang, never wrong data."""

import asyncio
import gzip
import json
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bennu.errors import BadSettings, OffsetBeyondTail, OffsetGone, RecordBroken, TopicMissing, Unavailable
from bennu.log.port import MAX_RECORD_BYTES, Log, Record
from bennu.log.rocketmq.admin import Admin
from bennu.log.rocketmq.frame import Frame, FrameBroken, decode, encode, signed
from bennu.log.rocketmq.messages import decode as decode_messages
from bennu.log.rocketmq.pull import Puller
from bennu.log.rocketmq.remoting import Connection, RemotingClient
from bennu.log.rocketmq.routes import Routes
from bennu.log.rocketmq.settings import Address, Credentials, RocketmqSettings, parse
from tests.log.conformance import fails, run, take

_PULL, _MAX_OFFSET, _MIN_OFFSET = 11, 30, 31


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


# Pure functions ------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_named_broken(data: bytes) -> None:
    try:
        assert isinstance(decode(memoryview(data)), Frame)
    except FrameBroken:
        pass


@given(st.integers(0, 1000), st.data())
def test_a_frame_cut_off_or_changed_is_a_frame_or_named_broken(opaque: int, data: st.DataObject) -> None:
    whole = bytearray(answer(0, opaque, fields={"offset": "7"}, body=b"body")[4:])
    whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(memoryview(whole)[: data.draw(st.integers(0, len(whole)))])
    except FrameBroken:
        pass


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9)), st.binary(max_size=99))
def test_a_request_can_be_read_back(fields: dict[str, str], body: bytes) -> None:
    data = encode(11, 3, fields=fields, body=body)
    frame = decode(memoryview(data)[4:])
    assert (frame.code, frame.opaque, frame.fields, bytes(frame.body)) == (11, 3, fields, body)
    assert not frame.is_answer


def test_the_signature_is_over_all_values_in_key_order_and_the_body() -> None:
    fields = signed({"topic": "t", "queueId": "0"}, body=b"b", credentials=Credentials("key", "secret"))
    assert fields["AccessKey"] == "key"
    # echo -n 'key0tb' | openssl dgst -sha1 -hmac secret -binary | base64
    assert fields["Signature"] == "r+OOTVBix0mBd5r+KgWRSTe8Euc="


_BODIES = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=5)


@given(_BODIES, st.sampled_from([0, 0x10, 0x20, 0x30]), st.sampled_from([-626_843_477, -626_843_481]))
def test_stored_messages_of_every_layout_become_records(bodies: list[bytes], flags: int, magic: int) -> None:
    data = b"".join(stored(7 + n, body, flags=flags, magic=magic) for n, body in enumerate(bodies))
    assert decode_messages(memoryview(data), topic="t", offset=7) == [(7 + n, body) for n, body in enumerate(bodies)]


@settings(max_examples=500)
@given(_BODIES, st.data())
def test_changed_bytes_never_become_wrong_records(bodies: list[bytes], data: st.DataObject) -> None:
    raw = bytearray(b"".join(stored(n, body) for n, body in enumerate(bodies)))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(1, len(raw)))
    try:
        records = decode_messages(memoryview(raw)[:cut], topic="t", offset=0)
    except RecordBroken as error:
        assert "t" in str(error)
    else:
        assert records == [Record(n, body) for n, body in enumerate(bodies)][: len(records)]


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
def test_compressed_bodies_are_opened(compress: Callable[[bytes], bytes]) -> None:
    data = stored(0, compress(b"x" * 5000), flags=1)
    assert decode_messages(memoryview(data), topic="t", offset=0) == [(0, b"x" * 5000)]


def test_a_compressed_bomb_is_a_broken_record() -> None:
    with pytest.raises(RecordBroken, match="too large"):
        decode_messages(memoryview(stored(0, zlib.compress(bytes(MAX_RECORD_BYTES + 1)), flags=1)), topic="t", offset=0)


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_frames_arrive_whole_however_the_bytes_are_cut(sizes: list[int], data: st.DataObject) -> None:
    async def body() -> None:
        connection = Connection("test")
        connection.connection_made(_Transport())
        waiting = [connection.request(n, b"") for n in range(len(sizes))]
        stream = memoryview(b"".join(answer(0, n, body=bytes([n]) * size) for n, size in enumerate(sizes)))
        while stream:
            room = connection.get_buffer(-1)
            step = min(len(room), len(stream), data.draw(st.integers(1, 150_000)))
            room[:step] = stream[:step]
            connection.buffer_updated(step)
            stream = stream[step:]
        for n, size in enumerate(sizes):
            assert bytes((await waiting[n]).body) == bytes([n]) * size

    run(body())


class _Transport(asyncio.Transport):
    """Swallows what is written."""

    def write(self, data: object) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


# A server that says what the test wants ------------------------------------------------------------------------------

_Script = Callable[[Frame], bytes | None]
"""What to send for one request; None closes the connection."""


@asynccontextmanager
async def _server(script: _Script) -> AsyncIterator[Address]:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                (length,) = struct.unpack(">i", await reader.readexactly(4))
                said = script(decode(memoryview(await reader.readexactly(length))))
                if said is None:
                    break
                writer.write(said)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for writer in writers:
            writer.close()


class _Routes(Routes):
    """Every topic is at one broker, unless the test says that it is gone."""

    def __init__(self, gone: bool = False) -> None:
        self.gone = gone

    async def broker_of(self, topic: str) -> str:
        return "broker-a"

    async def is_gone(self, topic: str) -> bool:
        return self.gone

    def forget(self, topic: str) -> None:
        pass


async def _against(script: _Script, body: Callable[[Log], Awaitable[object]], *, gone: bool = False) -> None:
    async with _server(script) as address:
        client = RemotingClient(address)
        puller = Puller(client, _Routes(gone), Admin(RocketmqSettings(address)))
        await body(puller)  # type: ignore[arg-type]  # only `read` and `bounds` of a log are used
        puller.close()
        client.close()


def _bounds(request: Frame, first: int, end: int) -> bytes:
    return answer(0, request.opaque, fields={"offset": str(first if request.code == _MIN_OFFSET else end)})


def _out_of_range(first: int, end: int, *, times: int = 1_000) -> _Script:
    left = iter(range(times))

    def script(request: Frame) -> bytes:
        if request.code != _PULL:
            return _bounds(request, first, end)
        if next(left, None) is not None:
            return answer(21, request.opaque, fields={"nextBeginOffset": "999"})
        offset = int(request.fields["queueOffset"])
        return answer(0, request.opaque, body=stored(offset, b"found"))

    return script


def test_an_offset_that_the_broker_has_expired_is_gone() -> None:
    run(_against(_out_of_range(5, 9), lambda log: fails(OffsetGone, log, "t", 4)))


def test_an_offset_that_the_broker_never_had_is_beyond_the_tail() -> None:
    run(_against(_out_of_range(5, 9), lambda log: fails(OffsetBeyondTail, log, "t", 10)))


def test_a_broker_that_calls_the_tail_out_of_range_is_asked_again_at_the_same_offset() -> None:
    async def body(log: Log) -> None:
        assert (await take(log, "t", start=9, count=1)) == [(9, b"found")]

    run(_against(_out_of_range(9, 9, times=4), body))


def test_a_broker_that_errs_for_a_moment_is_asked_again_at_the_same_offset() -> None:
    async def body(log: Log) -> None:
        assert (await take(log, "t", start=12, count=1)) == [(12, b"found")]

    run(_against(_out_of_range(5, 9, times=2), body))


@pytest.mark.parametrize("code", [1, 2, 19, 20, 24, 999])
def test_what_may_pass_is_waited_for(code: int) -> None:
    answers = iter([code, code])

    def script(request: Frame) -> bytes:
        if request.code != _PULL:
            return _bounds(request, 0, 9)
        if (said := next(answers, 0)) != 0:
            return answer(said, request.opaque, fields={"nextBeginOffset": "99"})
        return answer(0, request.opaque, body=stored(int(request.fields["queueOffset"]), b"found"))

    async def body(log: Log) -> None:
        assert (await take(log, "t", start=3, count=1)) == [(3, b"found")]

    run(_against(script, body))


@pytest.mark.parametrize(("code", "error"), [(16, BadSettings), (3, BadSettings), (17, TopicMissing)])
def test_what_will_not_pass_ends_the_reader(code: int, error: type[Exception]) -> None:
    run(_against(lambda request: answer(code, request.opaque), lambda log: fails(error, log, "t", 0), gone=True))


def test_a_hole_left_by_a_deleted_file_is_an_offset_that_is_gone() -> None:
    def script(request: Frame) -> bytes:
        if request.code != _PULL:
            return _bounds(request, 7, 9)
        return answer(0, request.opaque, body=stored(7, b"not the one asked for"))

    run(_against(script, lambda log: fails(OffsetGone, log, "t", 3)))


@pytest.mark.parametrize("data", [stored(4, b"x"), stored(3, b"x")[:-30], b"garbage" * 9, stored(3, b"x" * 50).replace(b"x", b"y")])
def test_an_answer_with_broken_records_is_named(data: bytes) -> None:
    def script(request: Frame) -> bytes:
        return _bounds(request, 0, 9) if request.code != _PULL else answer(0, request.opaque, body=data)

    async def body(log: Log) -> None:
        assert "t" in str(await fails(RecordBroken, log, "t", 3))

    run(_against(script, body))


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        struct.pack(">i", -1),
        struct.pack(">i", 3) + b"abc",
        struct.pack(">ii", 20, 16) + b"[" * 16,
        struct.pack(">ii", 6, 99) + b"{}",
        struct.pack(">ii", 6, 1 << 24 | 2) + b"{}",
        struct.pack(">i", 1 << 30),
        None,
    ],
)
def test_garbage_ends_the_connection_and_the_reader_comes_back_on_another(garbage: bytes | None) -> None:
    said = iter([garbage])

    def script(request: Frame) -> bytes | None:
        for bad in said:
            return bad
        return answer(0, request.opaque, body=stored(int(request.fields["queueOffset"]), b"found"))

    async def body(log: Log) -> None:
        assert (await take(log, "t", start=0, count=1)) == [(0, b"found")]

    run(_against(script, body))


def test_an_answer_that_never_comes_is_given_up_and_late_answers_are_nobodys() -> None:
    async def body() -> None:
        requests: list[Frame] = []

        def script(request: Frame) -> bytes:
            requests.append(request)
            late = answer(0, requests[0].opaque, fields={"offset": "1"})
            return late + answer(0, request.opaque, fields={"offset": "2"}) if len(requests) > 1 else b""

        async with _server(script) as address:
            client = RemotingClient(address)
            with pytest.raises(Unavailable, match="no answer"):
                await client.call(_MAX_OFFSET, {}, timeout_ms=30)
            assert (await client.call(_MAX_OFFSET, {}, timeout_ms=3_000)).fields == {"offset": "2"}
            client.close()
            with pytest.raises(Unavailable, match="closed"):
                await client.call(_MAX_OFFSET, {}, timeout_ms=3_000)

    run(body())


# Settings ------------------------------------------------------------------------------------------------------------


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
    with pytest.raises(BadSettings) as refused:
        parse(url, access_key=None, secret_key=None)
    assert "secret@" not in str(refused.value)


def test_settings_never_show_the_secret() -> None:
    given = parse("rocketmq://[::1]:8080?namesrv=h:2", access_key="key", secret_key="hidden")
    assert str(given.proxy) == "[::1]:8080"
    assert given.reads_at == given.proxy
    assert "hidden" not in repr(given) + repr(given.credentials)
    with pytest.raises(BadSettings):
        parse("rocketmq://h:1", access_key="key", secret_key=None)
