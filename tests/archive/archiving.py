"""An archiver for tests, over any log, with what it shows."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bennu.archive.archiver import Archiver
from bennu.archive.folder import Archive
from bennu.archive.observed import Observed
from bennu.archive.settings import ArchiverSettings
from bennu.log.port import Log
from bennu.ops.metrics import Metrics
from bennu.ops.readiness import Readiness
from bennu.ops.settings import load


class Archiving:
    """`run` is what the process does."""

    def __init__(self, root: Path, log: Log, topics: Sequence[str], *, partitions: int = 1) -> None:
        self.archive = Archive(root)
        self.metrics, self.readiness = Metrics(), Readiness()
        self.topics = list(topics)
        self.stop = asyncio.Event()
        """With segments so small that each append begins one."""
        flags = ["--app", "bank.app:app", "--to", str(root), "--partitions", str(partitions), "--segment-bytes", "1"]
        settings = load(ArchiverSettings, flags, {})
        self._archiver = Archiver(settings, log, Observed(self.metrics, self.readiness, self.topics))

    async def run(self, *, once: bool = False) -> None:
        """Until `stop`, or everything is copied."""
        await self._archiver.run(self.topics, self.stop, once=once)

    def metric(self, name: str, topic: str) -> float | None:
        """As Prometheus would see it."""
        return self.metrics.registry.get_sample_value(name, {"topic": topic})

    def reason(self, topic: str) -> str:
        """Why the topic's condition is not met."""
        conditions = self.readiness.report()["conditions"]
        assert isinstance(conditions, dict)
        return str(conditions[f"archive {topic}"]["reason"])


@asynccontextmanager
async def archiving(root: Path, log: Log, topics: Sequence[str]) -> AsyncIterator[Archiving]:
    """One at work within the block; it ends well."""
    found = Archiving(root, log, topics)
    working = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        found.stop.set()
        await working


async def archived(archive: Archive, topic: str, end: int) -> None:
    """Return once the topic is archived up to there."""
    while (archive.bounds(topic) or (0, 0))[1] < end:  # noqa: ASYNC110  what the disk holds is what is asked
        await asyncio.sleep(0.005)
