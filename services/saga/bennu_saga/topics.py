"""The topics that Saga uses: made where the log is our own, asked for where an operator makes them."""

from collections.abc import Awaitable, Callable, Sequence

from bennu.errors import TopicMissing, Unavailable
from bennu.log.port import Log
from bennu.ops.patience import Patience


async def create(log: Log, topics: Sequence[str]) -> None:
    """The embedded log needs no operator to make its topics.  A log that is away is waited for."""
    await _each(topics, log.create)


async def check(log: Log, topics: Sequence[str]) -> None:
    """Return once all are there; a log that is away is waited for.  Raises `TopicMissing`."""
    try:
        await _each(topics, log.bounds)
    except TopicMissing as error:
        raise TopicMissing(f"{error}; make it with `bennu topics create`") from error


async def _each(topics: Sequence[str], ask: Callable[[str], Awaitable[object]]) -> None:
    patience = Patience("log")
    for topic in topics:
        while not await _answered(ask, topic, patience=patience):
            pass  # it has waited


async def _answered(ask: Callable[[str], Awaitable[object]], topic: str, *, patience: Patience) -> bool:
    try:
        await ask(topic)
    except Unavailable as error:
        await patience.wait(error)
        return False
    patience.reset()
    return True
