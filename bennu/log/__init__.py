"""`open(url)`: the one place that names the log's adapters.

    memory:                                            a log of this process only, gone when it is closed
    sqlite:PATH                                        a directory; several processes on one host
    rocketmq://HOST:PORT?namesrv=HOST:PORT             a RocketMQ 5 proxy in CLUSTER mode
    rocketmq://HOST:PORT?mode=local&broker=HOST:PORT   a proxy with the broker inside it

HOST:PORT after `rocketmq://` is the proxy's gRPC port, or its remoting port, which serves both.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from bennu.errors import BadSettings
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Log
from bennu.log.sqlite import SqliteLog

__all__ = ["open"]

_FORMS = (
    "memory: | sqlite:PATH | rocketmq://HOST:PORT?namesrv=HOST:PORT | rocketmq://HOST:PORT?mode=local&broker=HOST:PORT"
)


def open(  # noqa: A001  callers read `log.open`
    url: str, *, access_key: str | None = None, secret_key: str | None = None
) -> AbstractAsyncContextManager[Log]:
    """The log that `url` names.  Raises `BadSettings` at once; asks nothing of a peer before the first call.

    Leaving the block ends the handle's readers (their iteration just stops) and refuses its appends.
    """
    scheme, colon, rest = url.partition(":")
    if scheme == "rocketmq" and colon:
        # Imported here, so that who uses another log needs no gRPC.
        from bennu.log.rocketmq import open_rocketmq

        return open_rocketmq(url, access_key=access_key, secret_key=secret_key)
    if access_key is not None or secret_key is not None:
        raise BadSettings("credentials are for rocketmq: only")
    if url == "memory:":
        return _open_memory()
    if scheme == "sqlite" and colon:
        return _open_sqlite(_directory(rest))
    raise BadSettings(f"no log is called {scheme!r}; known are {_FORMS}")


def _directory(path: str) -> Path:
    if not path:
        raise BadSettings("sqlite: needs the path of a directory, as in sqlite:data/log")
    if "?" in path:
        raise BadSettings("sqlite: takes no settings after a question mark")
    if path.startswith("//") and not path.startswith("///"):
        raise BadSettings(f"sqlite:{path} would name a host; write sqlite:{path[2:]}")
    directory = Path(path)
    if directory.exists() and not directory.is_dir():
        raise BadSettings(f"sqlite:{path} is no directory")
    return directory


@asynccontextmanager
async def _open_memory() -> AsyncIterator[Log]:
    log = MemoryLog(MemoryBroker())
    try:
        yield log
    finally:
        log.close()


@asynccontextmanager
async def _open_sqlite(directory: Path) -> AsyncIterator[Log]:
    log = SqliteLog(directory)
    try:
        yield log
    finally:
        await log.close()
