"""The real parts, shared by all tests; how workers share these; and where log lines go, put back after each."""

from collections.abc import Iterator

import pytest
from xdist.remote import Producer

from tests.loggers import put_back
from tests.sharing import Sharing, long_first
from tests.stack_fixtures import database, postgres, rocketmq

__all__ = ["database", "loggers", "postgres", "rocketmq"]


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """A test, or a command called by one, may say where log lines go, for the whole process: only until it ends."""
    with put_back():
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    """Of a run with several workers."""
    config.option.loadscopereorder = False
    return Sharing(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Alone they run in the order of their names."""
    if hasattr(config, "workerinput"):
        long_first(items)
