"""The operations port: `/metrics`, `/healthz`, `/readyz` over plain HTTP, GET only.

A request is read up to `OPS_REQUEST_BYTES` and answered within `OPS_REQUEST_TIMEOUT_S`; then the connection is closed.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import NamedTuple

from bennu.ops import addresses
from bennu.ops.addresses import Address
from bennu.ops.limits import OPS_CONNECTIONS, OPS_REQUEST_BYTES, OPS_REQUEST_TIMEOUT_S
from bennu.ops.metrics import CONTENT_TYPE, Metrics
from bennu.ops.readiness import Readiness

_JSON = "application/json"


class Answer(NamedTuple):
    """What one request gets."""

    status: HTTPStatus
    content_type: str
    body: bytes


def _json(status: HTTPStatus, content: dict[str, object]) -> Answer:
    return Answer(status, _JSON, json.dumps(content).encode() + b"\n")


def _refusal(status: HTTPStatus) -> Answer:
    return _json(status, {"error": status.phrase})


class _Ops:
    def __init__(self, metrics: Metrics, readiness: Readiness) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._connections: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= OPS_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def close(self) -> None:
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(OPS_REQUEST_TIMEOUT_S):
                    answer = await self._read_and_answer(reader)
                    head = (
                        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\nContent-Type: {answer.content_type}"
                    )
                    length = f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
                    writer.write(f"{head}\r\n{length}".encode() + answer.body)
                    await writer.drain()
        finally:
            writer.close()

    async def _read_and_answer(self, reader: asyncio.StreamReader) -> Answer:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        match head.split(b"\r\n", 1)[0].split(b" "):
            case [b"GET", target, version] if version.startswith(b"HTTP/1."):
                return self._answer(target.split(b"?")[0])
            case [_, _, version] if version.startswith(b"HTTP/1."):
                return _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        return _refusal(HTTPStatus.BAD_REQUEST)

    def _answer(self, path: bytes) -> Answer:
        match path:
            case b"/metrics":
                return Answer(HTTPStatus.OK, CONTENT_TYPE, self._metrics.render())
            case b"/healthz":
                return _json(HTTPStatus.OK, {"healthy": True})
            case b"/readyz":
                status = HTTPStatus.OK if self._readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE
                return _json(status, self._readiness.report())
        return _refusal(HTTPStatus.NOT_FOUND)


@asynccontextmanager
async def serve_ops(address: Address, *, metrics: Metrics, readiness: Readiness) -> AsyncIterator[Address]:
    """Listens until the block ends; gives the address with its real port.  Raises `BadSettings` if it is taken."""
    ops = _Ops(metrics, readiness)
    try:
        server = await asyncio.start_server(ops.connected, address.host, address.port, limit=OPS_REQUEST_BYTES)
    except OSError as error:
        raise addresses.not_bound(address, error, what="ops") from error
    try:
        yield Address(address.host, server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await ops.close()
        await server.wait_closed()
