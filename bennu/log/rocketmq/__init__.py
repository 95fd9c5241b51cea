"""The adapter for RocketMQ 5.  `settings` reads the URL, `log` is the adapter; the rest is one file per concept:

gRPC        stubs, session, append
remoting    frame, messages (pure), remoting, pull, admin
both        routes
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bennu.log.port import Log
from bennu.log.rocketmq.log import RocketmqLog
from bennu.log.rocketmq.settings import RocketmqSettings, parse

__all__ = ["open_rocketmq"]


def open_rocketmq(url: str, *, access_key: str | None, secret_key: str | None) -> AbstractAsyncContextManager[Log]:
    """Raises `BadSettings` at once."""
    return _open(parse(url, access_key=access_key, secret_key=secret_key))


@asynccontextmanager
async def _open(settings: RocketmqSettings) -> AsyncIterator[Log]:
    log = RocketmqLog(settings)
    try:
        yield log
    finally:
        await log.close()
