"""What the transport is told: it passes over an option that it does not know, without a word."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from bennu_cserver import peers, wiring

FOUND = find_spec("grpc._cython.cygrpc")
LIBRARY = Path(FOUND.origin).read_bytes() if FOUND and FOUND.origin else b""
NAMES = sorted({name for name, _ in (*wiring.OPTIONS, *peers.OPTIONS)})


@pytest.mark.parametrize("name", NAMES)
def test_the_transport_knows_each_option(name: str) -> None:
    """The server's bound on pings was misspelt: it kept its own, and closed a quiet link after some seconds."""
    assert name.encode() + b"\0" in LIBRARY


def test_pings_come_no_more_often_than_the_server_bears() -> None:
    """The link's own, with room for one that was held up on its way."""
    served, asked = dict(wiring.OPTIONS), dict(peers.OPTIONS)
    assert 2 * served["grpc.http2.min_ping_interval_without_data_ms"] <= asked["grpc.keepalive_time_ms"]
