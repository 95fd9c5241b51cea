"""The topics that a service needs: made where the log is our own, asked for where an operator makes them."""

from collections.abc import Awaitable, Callable, Iterable

from bennu.errors import TopicMissing, Unavailable
from bennu.log.port import Log
from bennu.ops.patience import Patience


async def prepare(log: Log, topics: Iterable[str], *, embedded: bool) -> None:
    """Return once all are there; one that is away is waited for.  Raises `TopicMissing` where an operator must act."""
    try:
        await _each(topics, log.create if embedded else log.bounds)
    except TopicMissing as error:
        raise TopicMissing(f"{error}; make it with `bennu topics create`") from error


async def _each(topics: Iterable[str], ask: Callable[[str], Awaitable[object]]) -> None:
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
