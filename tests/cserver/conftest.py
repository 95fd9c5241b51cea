"""One CServer for all tests of a module; it must outlive everything they send."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cserver.served import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A bank of two partitions; at the end it must still run, have logged no error, and stop when asked."""
    yield from serving(Server(tmp_path_factory.mktemp("cserver")))


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """The same, for a test that kills or stops it."""
    yield from serving(Server(tmp_path))


def serving(found: Server) -> Iterator[Server]:
    """Start it, and see that it ends well."""
    with found:
        found.start()
        yield found
        assert (found.errors(), found.stop()) == ([], 0)
