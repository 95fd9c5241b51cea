"""Reading from RocketMQ, against a broker that says what the test wants: errors with a name, no hang, no gap."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bennu.errors import BadSettings, OffsetBeyondTail, OffsetGone, RecordBroken, TopicMissing, Unavailable
from bennu.log.port import Log
from bennu.log.rocketmq import pull
from bennu.log.rocketmq.admin import Admin
from bennu.log.rocketmq.frame import Frame, decode
from bennu.log.rocketmq.pull import Puller
from bennu.log.rocketmq.remoting import Connection, RemotingClient
from bennu.log.rocketmq.routes import Routes
from bennu.log.rocketmq.settings import Address, RocketmqSettings
from tests.log.fake_broker import answer, stored
from tests.log.helpers import fails, run, take

_PULL, _MAX_OFFSET, _MIN_OFFSET = 11, 30, 31


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_frames_arrive_whole_however_the_bytes_are_cut(sizes: list[int], data: st.DataObject) -> None:
    """TCP may cut anywhere; answers are the same."""

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
        connect = partial(RemotingClient, address)
        puller = Puller(connect, routes=_Routes(gone), admin=Admin(RocketmqSettings(address)))
        await body(puller)  # type: ignore[arg-type]  # only `read` and `bounds` of a log are used
        puller.close()


def _bounds(request: Frame, *, first: int, end: int) -> bytes:
    return answer(0, request.opaque, fields={"offset": str(first if request.code == _MIN_OFFSET else end)})


def _out_of_range(first: int, end: int, *, times: int = 1_000) -> _Script:
    left = iter(range(times))

    def script(request: Frame) -> bytes:
        if request.code != _PULL:
            return _bounds(request, first=first, end=end)
        if next(left, None) is not None:
            return answer(21, request.opaque, fields={"nextBeginOffset": "999"})
        offset = int(request.fields["queueOffset"])
        return answer(0, request.opaque, body=stored(offset, b"found"))

    return script


def test_an_offset_that_the_broker_has_expired_is_gone() -> None:
    """Out of range below the first offset is final."""
    run(_against(_out_of_range(5, 9), lambda log: fails(OffsetGone, log, topic="t", offset=4)))


def test_an_offset_that_the_broker_never_had_is_beyond_the_tail() -> None:
    """Out of range above the next offset is final."""
    run(_against(_out_of_range(5, 9), lambda log: fails(OffsetBeyondTail, log, topic="t", offset=10)))


def test_a_broker_that_calls_the_tail_out_of_range_is_asked_again_at_the_same_offset() -> None:
    """A queue whose records all expired says so at its tail: wait there."""

    async def body(log: Log) -> None:
        assert (await take(log, "t", start=9, count=1)) == [(9, b"found")]

    run(_against(_out_of_range(9, 9, times=4), body))


def test_a_broker_that_errs_for_a_moment_is_asked_again_at_the_same_offset() -> None:
    """One strange answer of a broker that has just started stops nobody."""

    async def body(log: Log) -> None:
        assert (await take(log, "t", start=12, count=1)) == [(12, b"found")]

    run(_against(_out_of_range(5, 9, times=2), body))


@pytest.mark.parametrize("code", [1, 2, 19, 20, 24, 26, 999])
def test_what_may_pass_is_waited_for(code: int) -> None:
    """Busy, broken and unheard-of answers are retried, and `nextBeginOffset` is not followed."""
    answers = iter([code, code])

    def script(request: Frame) -> bytes:
        if request.code != _PULL:
            return _bounds(request, first=0, end=9)
        if (said := next(answers, 0)) != 0:
            return answer(said, request.opaque, fields={"nextBeginOffset": "99"})
        return answer(0, request.opaque, body=stored(int(request.fields["queueOffset"]), b"found"))

    async def body(log: Log) -> None:
        assert (await take(log, "t", start=3, count=1)) == [(3, b"found")]

    run(_against(script, body))


@pytest.mark.parametrize(("code", "error"), [(16, BadSettings), (3, BadSettings), (17, TopicMissing)])
def test_what_will_not_pass_ends_the_reader(code: int, error: type[Exception]) -> None:
    """Answers that time does not change are errors."""
    run(
        _against(
            lambda request: answer(code, request.opaque), lambda log: fails(error, log, topic="t", offset=0), gone=True
        )
    )


def test_a_hole_left_by_a_deleted_file_is_an_offset_that_is_gone() -> None:
    """Records from further on instead of those asked for are no answer."""

    def script(request: Frame) -> bytes:
        if request.code != _PULL:
            return _bounds(request, first=7, end=9)
        return answer(0, request.opaque, body=stored(7, b"not the one asked for"))

    run(_against(script, lambda log: fails(OffsetGone, log, topic="t", offset=3)))


@pytest.mark.parametrize(
    "data", [stored(4, b"x"), stored(3, b"x")[:-30], b"garbage" * 9, stored(3, b"x" * 50).replace(b"x", b"y")]
)
def test_an_answer_with_broken_records_is_named(data: bytes) -> None:
    """A hole, a cut, garbage or a changed byte is a broken record, by topic."""

    def script(request: Frame) -> bytes:
        return _bounds(request, first=0, end=9) if request.code != _PULL else answer(0, request.opaque, body=data)

    async def body(log: Log) -> None:
        assert "t" in str(await fails(RecordBroken, log, topic="t", offset=3))

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
    """After garbage nothing on that connection can be trusted."""
    said = iter([garbage])

    def script(request: Frame) -> bytes | None:
        for bad in said:
            return bad
        return answer(0, request.opaque, body=stored(int(request.fields["queueOffset"]), b"found"))

    async def body(log: Log) -> None:
        assert (await take(log, "t", start=0, count=1)) == [(0, b"found")]

    run(_against(script, body))


def test_an_answer_that_never_comes_is_given_up_and_late_answers_are_nobodys() -> None:
    """A late answer is never taken for another request's."""

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


def test_a_reader_at_the_tail_is_answered_while_another_one_takes_long_to_receive() -> None:
    """A proxy throws answers away for which there is no room, and only a connection's own answers take it."""
    large = b"x" * 4_000_000
    coming, found = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack(">i", await reader.readexactly(4))
                request = decode(memoryview(await reader.readexactly(length)))
                if request.fields["topic"] == "replayed":
                    whole = answer(0, request.opaque, body=stored(0, large))
                    writer.write(whole[:-1])
                    coming.set()
                    await found.wait()  # all the time meanwhile an answer on this connection would be thrown away
                    writer.write(whole[-1:])
                else:
                    writer.write(answer(0, request.opaque, body=stored(7, b"new")))
        except asyncio.IncompleteReadError:
            pass  # the reader has ended
        finally:
            writer.close()

    async def body() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
            puller = Puller(partial(RemotingClient, address), routes=_Routes(), admin=Admin(RocketmqSettings(address)))
            log: Log = puller  # type: ignore[assignment]  # only `read` and `bounds` of a log are used
            replay = asyncio.ensure_future(take(log, "replayed", start=0, count=1))
            await coming.wait()
            assert await take(log, "followed", start=7, count=1) == [(7, b"new")]
            found.set()
            assert await replay == [(0, large)]
            puller.close()

    run(body())


def test_pulls_without_an_answer_are_asked_again_and_then_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that has nothing new is late to say so; one that never answers is away."""
    monkeypatch.setattr(pull, "_LONG_POLL_MS", 10)
    monkeypatch.setattr(pull, "_ANSWER_TIMEOUT_MS", 10)
    pulls = 0

    def script(request: Frame) -> bytes:
        nonlocal pulls
        pulls += 1
        return b"" if pulls <= 6 else answer(0, request.opaque, body=stored(0, b"found"))

    with capture_logs() as said:
        run(_against(script, lambda log: take(log, "t", start=0, count=1)))
    assert [each["problem"] for each in said if each["event"] == "waiting for the log"]
    assert pulls >= 7


def test_it_also_runs_on_uvloop() -> None:
    """uvloop's transports are no subclasses of asyncio's."""

    async def body(log: Log) -> None:
        assert await take(log, "t", start=0, count=1) == [(0, b"x" * 100_000)]

    def script(request: Frame) -> bytes:
        return answer(0, request.opaque, body=stored(int(request.fields["queueOffset"]), b"x" * 100_000))

    uvloop.run(asyncio.wait_for(_against(script, body), timeout=20))
