"""The real parts, shared by all tests; and where log lines go, put back after each."""

from collections.abc import Iterator

import pytest

from tests.loggers import put_back
from tests.stack_fixtures import database, postgres, rocketmq

__all__ = ["database", "loggers", "postgres", "rocketmq"]


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """A test, or a command called by one, may say where log lines go, for the whole process: only until it ends."""
    with put_back():
        yield
