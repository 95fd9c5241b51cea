"""Opens the log that a service is told of, and before it the archive, if there is one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import bennu.log
from bennu.archive.folder import Archive
from bennu.archive.joined import JoinedLog
from bennu.errors import BadSettings
from bennu.log.port import Log
from bennu.ops.settings import ServiceSettings


@asynccontextmanager
async def open_log(settings: ServiceSettings) -> AsyncIterator[Log]:
    """One log, whatever of it is archived.  Raises `BadSettings`."""
    async with bennu.log.open(settings.log, **settings.log_credentials()) as log:
        yield JoinedLog(log, archive_at(settings.archive)) if settings.archive else log


def archive_at(folder: str) -> Archive:
    """The archive in a folder that is there.  Raises `BadSettings`."""
    path = Path(folder)
    if not path.is_dir():
        raise BadSettings(f"archive: no folder {folder}; `bennu archive --to {folder}` makes it")
    return Archive(path)
