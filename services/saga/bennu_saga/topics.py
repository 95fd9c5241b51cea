"""The topics that Saga uses: made where the log is our own, asked for where an operator makes them."""

import asyncio
import random
from collections.abc import Sequence

import structlog

from bennu.errors import TopicMissing, Unavailable
from bennu.limits import RETRY_MAX_MS
from bennu.log.port import Log

logger = structlog.get_logger()


async def create(log: Log, topics: Sequence[str]) -> None:
    """The embedded log needs no operator to make its topics."""
    for topic in topics:
        await log.create(topic)


async def check(log: Log, topics: Sequence[str]) -> None:
    """Return once all are there; a log that is away is waited for.  Raises `TopicMissing`."""
    for topic in topics:
        while not await _answered(log, topic):  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(RETRY_MAX_MS / 1000 * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret


async def _answered(log: Log, topic: str) -> bool:
    try:
        await log.bounds(topic)
    except TopicMissing as error:
        raise TopicMissing(f"{topic}: the log has no such topic; make it with `bennu topics create`") from error
    except Unavailable as error:
        logger.warning("the log is away; trying again", topic=topic, reason=str(error))
        return False
    return True
