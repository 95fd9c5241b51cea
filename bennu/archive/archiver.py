"""The archiver, assembled: log, folder, one copier for each topic."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import bennu.log
from bennu.archive.copier import Copier, Shelf
from bennu.archive.folder import Archive
from bennu.archive.history import history_of
from bennu.archive.observed import Observed
from bennu.archive.settings import ArchiverSettings
from bennu.archive.writer import Sizes, TopicWriter, held
from bennu.errors import BadSettings, Final, TopicMissing
from bennu.log.port import Log
from bennu.ops import topics
from bennu.ops.apps import load_app
from bennu.ops.run import Running, announce, leaves
from bennu.ops.stopping import unless


async def main(settings: ArchiverSettings, running: Running) -> None:
    """Copy until asked to stop, or with `once` until all that is there now is archived.  Raises `BadSettings`.

    A topic that can be archived no further says so and ends; the others go on, and its error is raised at the end.
    """
    root = Path(settings.archive)
    with held(root):
        async with bennu.log.open(settings.log, **settings.log_credentials()) as log:
            names = list(archived_topics(load_app(settings.app).name, settings.partitions))
            if settings.once:
                names = [name for name in names if await _is_there(log, name)]
            archiver = Archiver(settings, log, Observed(running.metrics, running.readiness, names))
            running.announce()
            await archiver.run(names, running.stop, once=settings.once)


def archived_topics(app_name: str, partitions: int) -> Iterator[str]:
    """All of an app but its members' heartbeats, which nobody needs tomorrow."""
    for number in range(partitions):
        for kind in topics.KINDS:
            yield f"{app_name}-{kind}-{number}"


async def _is_there(log: Log, topic: str) -> bool:
    try:
        await log.bounds(topic)
    except TopicMissing:
        return False
    return True


class Archiver:
    """The copiers of one archive."""

    def __init__(self, settings: ArchiverSettings, log: Log, observed: Observed) -> None:
        self._archive = Archive(Path(settings.archive))
        self._sizes = Sizes(settings.segment_bytes, settings.segment_age_s)
        self._partitions = settings.partitions
        self._log = log
        self._observed = observed
        self._shelf = Shelf()
        self._ended: dict[str, Final] = {}

    async def run(self, names: list[str], stop: asyncio.Event, *, once: bool) -> None:
        """Until told to stop, done, or nothing is left to be copied.  Raises the first topic's `Final` error."""
        copiers = [self._copier(name) for name in names]
        try:
            async with asyncio.TaskGroup() as group:
                working = [group.create_task(self._guard(copier)) for copier in copiers]
                await unless(stop, self._all_archived(copiers) if once else self._none_left(copiers))
                for task in working:
                    task.cancel()
        finally:
            for copier in copiers:
                await copier.close()
        for copier in copiers if once else ():
            announce({"topic": copier.topic, "from": copier.began_at, "to": copier.writer.next_offset})
        for problem in self._ended.values():
            raise problem

    def _copier(self, name: str) -> Copier:
        writer = TopicWriter(self._archive, name, history_of(name, self._partitions), sizes=self._sizes)
        return Copier(writer, self._log, self._shelf, observed=self._observed)

    async def _guard(self, copier: Copier) -> None:
        """Whatever ends one topic is said at once, and does not end the others."""
        try:
            await copier.run()
        except* Final as problems:
            problem = next(leaves(problems))
            assert isinstance(problem, Final)
            self._ended[copier.topic] = problem
            self._observed.ended(copier.topic, problem)
            self._shelf.take_away(copier.topic)

    async def _all_archived(self, copiers: list[Copier]) -> None:
        ends = {copier.topic: (await copier.bounds())[1] for copier in copiers}
        await self._shelf.until(
            lambda: (
                self._told_wrongly
                or all(c.topic in self._ended or c.writer.next_offset >= ends[c.topic] for c in copiers)
            )
        )

    async def _none_left(self, copiers: list[Copier]) -> None:
        await self._shelf.until(lambda: self._told_wrongly or len(self._ended) == len(copiers))

    @property
    def _told_wrongly(self) -> bool:
        """Settings that make no sense end all at once."""
        return any(isinstance(problem, BadSettings) for problem in self._ended.values())
