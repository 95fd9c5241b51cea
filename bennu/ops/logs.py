"""Opens the log that a service is told of, and before it the archive, if there is one."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import bennu.log
from bennu.archive.folder import Archive
from bennu.archive.joined import JoinedLog
from bennu.errors import BadSettings
from bennu.log.port import Log
from bennu.ops.settings import ServiceSettings


def open_log(settings: ServiceSettings) -> AbstractAsyncContextManager[Log]:
    """One log, whatever of it is archived.  Raises `BadSettings`."""
    return joined(bennu.log.open(settings.log, **settings.log_credentials()), settings.archive)


@asynccontextmanager
async def joined(opening: AbstractAsyncContextManager[Log], archive: str) -> AsyncIterator[Log]:
    """This log, and before it the archive in this folder; none where it is empty.  Raises `BadSettings`."""
    async with opening as log:
        yield JoinedLog(log, archive_at(archive)) if archive else log


def archive_at(folder: str) -> Archive:
    """The archive in a folder that is there.  Raises `BadSettings`."""
    path = Path(folder)
    if not path.is_dir():
        raise BadSettings(f"archive: no folder {folder}; `bennu archive --to {folder}` makes it")
    return Archive(path)
