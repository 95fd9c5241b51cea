"""A client of RocketMQ's remoting protocol: one connection, many requests in flight, made again when it breaks.

Large answers are received straight into the buffer in which they are decoded (`BufferedProtocol`), because replay
moves tens of megabytes a second through here.
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import cast

import structlog

from bennu.errors import Unavailable
from bennu.log.rocketmq.frame import MAX_FRAME_BYTES, MIN_FRAME_BYTES, Frame, FrameBroken, decode, encode, signed
from bennu.log.rocketmq.settings import Address, Credentials

logger = structlog.get_logger()

_CONNECT_TIMEOUT_S = 3.0
_SCRATCH_BYTES = 64 * 1024
_MAX_IN_FLIGHT = 1024
_LENGTH = struct.Struct(">i")


class Unanswered(Unavailable):
    """The request was sent, and no answer came in time."""


class Connection(asyncio.BufferedProtocol):
    """One TCP connection.  A frame that cannot be understood ends it: nothing after it can be trusted."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Frame]] = {}
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._scratch_used = 0
        self._large: memoryview | None = None
        self._large_used = 0
        self.received_bytes = 0

    @property
    def is_amid_large(self) -> bool:
        """Whether a large answer has come in part."""
        return self._large is not None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # TCP gives a whole Transport; uvloop's is one by behaviour, not by class.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(Unavailable(f"{self._name}: the connection was lost: {exc or 'closed'}"))

    def close(self) -> None:
        """Close the connection; whatever waits for an answer gets `Unavailable`."""
        if self._transport is not None:
            self._transport.abort()
        self._fail(Unavailable(f"{self._name}: the connection is closed"))

    def _fail(self, error: Unavailable) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(error)

    def request(self, opaque: int, data: bytes) -> "asyncio.Future[Frame]":
        """Send; the future gets the answer, or `Unavailable` when the connection ends."""
        if self._transport is None or self._transport.is_closing():
            raise Unavailable(f"{self._name}: not connected")
        if len(self._waiting) >= _MAX_IN_FLIGHT:
            raise Unavailable(f"{self._name}: {_MAX_IN_FLIGHT} requests wait already")
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[opaque] = answer
        self._transport.write(data)
        return answer

    def forget(self, opaque: int) -> None:
        """The answer is not wanted any more."""
        self._waiting.pop(opaque, None)

    def get_buffer(self, _sizehint: int) -> memoryview:
        if self._large is not None:
            return self._large[self._large_used :]
        return memoryview(self._scratch)[self._scratch_used :]

    def buffer_updated(self, nbytes: int) -> None:
        self.received_bytes += nbytes
        try:
            if self._large is None:
                self._scratch_used += nbytes
                self._take_scratch()
                return
            self._large_used += nbytes
            if self._large_used == len(self._large):
                large, self._large = self._large, None
                self._answer(decode(large))
        except FrameBroken as error:
            logger.warning("a peer sent what is no frame, the connection ends", peer=self._name, problem=str(error))
            self.close()

    def _take_scratch(self) -> None:
        """Answer all whole frames in the scratch buffer; move the rest to its start, or to a buffer of its own."""
        view, position = memoryview(self._scratch), 0
        while self._scratch_used - position >= 4:
            (length,) = _LENGTH.unpack_from(view, position)
            if not MIN_FRAME_BYTES <= length <= MAX_FRAME_BYTES:
                raise FrameBroken(f"a frame of {length} bytes")
            got = self._scratch_used - position - 4
            if got < length:
                self._make_room(length, view[position + 4 : self._scratch_used])
                break
            # A copy: the scratch buffer is written again while the answer is still read.
            self._answer(decode(memoryview(bytes(view[position + 4 : position + 4 + length]))))
            position += 4 + length
        if self._large is not None:
            self._scratch_used = 0
        elif position:
            rest = bytes(view[position : self._scratch_used])
            self._scratch[: len(rest)] = rest
            self._scratch_used = len(rest)

    def _make_room(self, length: int, got: memoryview) -> None:
        self._large = memoryview(bytearray(length))
        self._large[: len(got)] = got
        self._large_used = len(got)

    def _answer(self, frame: Frame) -> None:
        if not frame.is_answer:
            return  # brokers tell clients of things that a reader by offset need not know
        answer = self._waiting.pop(frame.opaque, None)
        if answer is not None and not answer.done():
            answer.set_result(frame)


class RemotingClient:
    """Requests to one peer.  Connects when needed; to wait before another attempt is the caller's (`Patience`)."""

    def __init__(self, peer: Address, credentials: Credentials | None = None) -> None:
        self._peer = peer
        self._credentials = credentials
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._opaque = 0
        self._closed = False

    async def call(self, code: int, fields: Mapping[str, str], *, timeout_ms: int, body: bytes = b"") -> Frame:
        """The answer, whatever its code.  Raises `Unavailable`; `Unanswered` when none came in time.

        While a large answer is coming in, the deadline moves on: a slow link is not a dead one.
        """
        self._opaque = opaque = self._opaque % 0x7FFFFFFF + 1
        if self._credentials is not None:
            fields = signed(fields, body=body, credentials=self._credentials)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                connection = await self._connected()
        except TimeoutError:
            raise Unavailable(f"{self._peer}: no connection in {timeout_ms} ms") from None
        answer = connection.request(opaque, encode(code, opaque, fields=fields, body=body))
        try:
            if not await _is_answered(answer, connection, timeout_s=timeout_ms / 1000):
                raise Unanswered(f"{self._peer}: no answer in {timeout_ms} ms")
            return answer.result()
        finally:
            connection.forget(opaque)
            answer.cancel()

    async def _connected(self) -> Connection:
        async with self._connecting:
            self._check_open()
            if self._connection is not None and self._connection.is_open:
                return self._connection
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    _, self._connection = await loop.create_connection(
                        lambda: Connection(str(self._peer)), self._peer.host, self._peer.port
                    )
            except OSError as error:  # a timeout is one, too
                raise Unavailable(f"{self._peer}: cannot connect: {error}") from error
            self._check_open()
            return self._connection

    def _check_open(self) -> None:
        if self._closed:
            self.close()  # a connection that was made meanwhile, too
            raise Unavailable(f"{self._peer}: this log is closed")

    def close(self) -> None:
        """Close the connection; calls under way get `Unavailable`."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()


async def _is_answered(answer: "asyncio.Future[Frame]", connection: Connection, *, timeout_s: float) -> bool:
    at_first = connection.received_bytes
    received = -1
    while not answer.done() and received != connection.received_bytes:
        received = connection.received_bytes
        await asyncio.wait({answer}, timeout=timeout_s)
        if not connection.is_amid_large:
            break
    if answer.done():
        return True
    if connection.received_bytes == at_first:
        # Not a byte for anybody: the link may be dead in one direction, and only a new connection finds out.
        connection.close()
    return False
