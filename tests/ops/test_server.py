"""The operations port: what it answers, and what it bears."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from bennu.errors import BadSettings
from bennu.ops.addresses import Address
from bennu.ops.limits import OPS_CONNECTIONS, OPS_REQUEST_BYTES
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.ops.server import serve_ops

HOST = "127.0.0.1"


def with_ops(body: Callable[[Address, Readiness], Awaitable[None]]) -> None:
    """Run this beside an operations port."""

    async def serve() -> None:
        readiness, metrics = Readiness(), Metrics()
        metrics.counter("bennu_things", "Things.", kind="good").inc()
        async with asyncio.timeout(60), serve_ops(Address(HOST, 0), metrics=metrics, readiness=readiness) as address:
            await body(address, readiness)

    asyncio.run(serve())


async def exchanged(address: Address, request: bytes) -> bytes:
    """All that comes back for these bytes."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


async def got(address: Address, path: str) -> tuple[int, str]:
    """Status and body of a page."""
    head, _, body = (await exchanged(address, f"GET {path} HTTP/1.1\r\n\r\n".encode())).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    return int(head.split()[1]), body.decode()


def test_readiness_is_the_sum_of_its_conditions() -> None:
    """503 with each reason until all declared conditions are met, and again when one is lost."""

    async def body(address: Address, readiness: Readiness) -> None:
        assert (await got(address, "/readyz"))[0] == 503
        readiness.declare("log", "postgres")
        readiness.met("log")
        status, page = await got(address, "/readyz")
        assert (status, json.loads(page)["conditions"]["postgres"]["reason"]) == (503, "starting")
        readiness.met("postgres")
        assert (await got(address, "/readyz?verbose"))[0] == 200
        readiness.unmet("log", "away")
        status, page = await got(address, "/readyz")
        assert (status, json.loads(page)["conditions"]["log"]) == (503, {"met": False, "reason": "away"})
        assert (await got(address, "/healthz"))[0] == 200

    with_ops(body)


def test_metrics_are_text_for_prometheus() -> None:
    """Ours and the process's own."""

    async def body(address: Address, _: Readiness) -> None:
        status, page = await got(address, "/metrics")
        assert status == 200
        assert 'bennu_things_total{kind="good"} 1.0' in page
        assert "process_resident_memory_bytes" in page

    with_ops(body)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"noise\r\n\r\n", b"400"),
        (b"\xff\xfe \x00 HTTP/9\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * OPS_REQUEST_BYTES + b"\r\n\r\n", b"431"),
    ],
    ids=["unknown page", "post", "noise", "bytes", "too long"],
)
def test_a_request_that_makes_no_sense_is_answered(request_: bytes, status: bytes) -> None:
    """With the status that says why; the port goes on."""

    async def body(address: Address, _: Readiness) -> None:
        assert (await exchanged(address, request_)).split()[1] == status
        assert (await got(address, "/healthz"))[0] == 200

    with_ops(body)


def test_idle_connections_are_bounded() -> None:
    """One more than the bound is closed at once, and a place that is left is free again."""

    async def body(address: Address, _: Readiness) -> None:
        idle = [await asyncio.open_connection(HOST, address.port) for _ in range(OPS_CONNECTIONS)]
        answer = b""
        with suppress(ConnectionError):
            answer = await exchanged(address, b"GET /healthz HTTP/1.1\r\n\r\n")
        assert answer == b""
        for reader, writer in idle:
            writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
            assert b"200 OK" in await reader.read()
            writer.close()
        assert (await got(address, "/healthz"))[0] == 200

    with_ops(body)


def test_a_port_that_is_taken_is_named() -> None:
    """Two services told the same address: the second says so."""

    async def body(address: Address, readiness: Readiness) -> None:
        with pytest.raises(BadSettings, match=f"ops: can't listen on {HOST}:{address.port}"):
            async with serve_ops(address, metrics=Metrics(), readiness=readiness):
                pass

    with_ops(body)
