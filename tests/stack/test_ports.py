"""Ports that are said to be free are."""

import socket

import pytest

from bennu.errors import Unavailable
from bennu.stack import ports
from bennu.stack.ports import HOST, free_port, is_free


def test_a_port_in_use_is_not_free() -> None:
    """A listener is noticed."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        listener.listen()
        assert not is_free(listener.getsockname()[1])


def test_the_neighbours_are_free_too() -> None:
    """A broker finds all its ports, below those that Linux gives to clients."""
    port = free_port((-2, 0, 1))
    assert all(is_free(port + offset) for offset in (-2, 0, 1))
    assert ports.FIRST <= port < ports.LAST < 32768


def test_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a free port gets an error, not an endless loop."""
    monkeypatch.setattr(ports, "is_free", lambda _port: False)
    with pytest.raises(Unavailable, match="no free TCP port"):
        free_port()
