"""The archiver, assembled: log, folder, one copier for each topic."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import bennu.log
from bennu.archive.copier import Copier
from bennu.archive.cut import closed_cut
from bennu.archive.folder import Archive
from bennu.archive.history import history_of
from bennu.archive.limits import SAMPLE_S, SYNC_PAUSE_MS
from bennu.archive.observed import DISK, Observed
from bennu.archive.settings import ArchiverSettings
from bennu.archive.writer import Sizes, TopicWriter, held
from bennu.errors import BadSettings, Final, TopicMissing
from bennu.log.port import Log
from bennu.ops import partition_count, topics
from bennu.ops.apps import load_app
from bennu.ops.patience import Patience
from bennu.ops.pulse import Pulse
from bennu.ops.run import Running, announce, leaves
from bennu.ops.stopping import unless


async def main(settings: ArchiverSettings, running: Running) -> None:
    """Copy until asked to stop, or with `once` until all that is there now is archived.  Raises `BadSettings`.

    A topic that can be archived no further says so and ends; the others go on, and its error is raised at the end.
    """
    root = Path(settings.archive)
    with held(root):
        async with bennu.log.open(settings.log, **settings.log_credentials()) as log:
            app_name = load_app(settings.app).name
            names = list(topics.histories(app_name, settings.partitions))
            if settings.once:
                witness = await partition_count.check(log, app_name, settings.partitions)
                names = await _those_there(log, names, archived=Archive(root).ends(), witness=witness)
            archiver = Archiver(settings, log, Observed(running.metrics, running.readiness, names))
            running.announce()
            await archiver.run(names, running.stop, once=settings.once)


async def _those_there(log: Log, names: Sequence[str], *, archived: Mapping[str, int], witness: str) -> list[str]:
    """Says which are not.  `witness`: the journal that says how many there must be; "" while none has begun.

    Raises `TopicMissing` for one that was archived before, for a domain's journal that is lost, and if none is there.
    """
    found: list[str] = []
    for name in names:
        try:
            await log.bounds(name)
            found.append(name)
        except TopicMissing as missing:
            if archived.get(name):
                raise TopicMissing(f"{missing}, but {archived[name]} records of it are archived") from missing
            if witness and "-events-" in name:
                raise TopicMissing(f"{missing}, but {witness} says that the app has it: it is lost") from missing
            announce({"topic": name, "missing": str(missing)})
    if not found:
        raise TopicMissing(f"there is nothing to archive: the log has none of {names[0]} to {names[-1]}")
    return found


class Archiver:
    """The copiers of one archive, and the steps in which it grows."""

    def __init__(self, settings: ArchiverSettings, log: Log, observed: Observed) -> None:
        self._archive = Archive(Path(settings.archive))
        self._sizes = Sizes(settings.segment_bytes, settings.segment_age_s)
        self._partitions = settings.partitions
        self._log = log
        self._observed = observed
        self._more = asyncio.Event()
        self._moved = Pulse()
        self._ends: dict[str, int] = {}
        self._ended: dict[str, Final] = {}

    async def run(self, names: list[str], stop: asyncio.Event, *, once: bool) -> None:
        """Until told to stop, done, or nothing is left to be copied.  Raises the first topic's `Final` error."""
        self._ends = self._archive.ends()
        copiers = [self._copier(name) for name in names]
        began = {copier.topic: copier.archived_to for copier in copiers}
        try:
            if not await unless(stop, self._open(copiers)):
                return
            await self._work(copiers, stop, once=once)
        finally:
            for copier in copiers:
                await copier.close()
        for copier in copiers if once else ():
            announce({"topic": copier.topic, "from": began[copier.topic], "to": copier.archived_to})
        for problem in self._ended.values():
            raise problem

    async def _work(self, copiers: list[Copier], stop: asyncio.Event, *, once: bool) -> None:
        async with asyncio.TaskGroup() as group:
            working = [group.create_task(self._guard(copier)) for copier in copiers]
            growing = group.create_task(self._grow(copiers))
            await unless(stop, self._all_archived(copiers) if once else self._none_left(copiers))
            for task in (*working, growing):
                task.cancel()

    def _copier(self, name: str) -> Copier:
        history, ahead = (history_of(name, self._partitions) for _ in range(2))
        writer = TopicWriter(self._archive, name, history, sizes=self._sizes)
        copier = Copier(writer, self._log, self._more, ahead=ahead, observed=self._observed)
        copier.archived_to = self._ends.get(name, 0)
        return copier

    async def _guard(self, copier: Copier) -> None:
        """Whatever ends one topic is said at once, and does not end the others."""
        try:
            await copier.run()
        except* Final as problems:
            problem = next(leaves(problems))
            assert isinstance(problem, Final)
            self._ended[copier.topic] = problem
            self._observed.ended(copier.topic, problem)
            self._moved.beat()

    # --- growing

    async def _grow(self, copiers: list[Copier]) -> None:
        """Archive what waits, again and again; a disk that fails is waited for."""
        patience = Patience("the archive")
        while True:
            try:
                await self._step(copiers)
                patience.reset()
            except OSError as problem:
                self._observed.away(DISK, problem)
                await patience.wait(problem)
                await self._open(copiers)

    async def _open(self, copiers: list[Copier]) -> None:
        patience = Patience("the archive")
        while True:
            try:
                for copier in copiers:
                    await copier.open()
                await asyncio.to_thread(self._archive.write_ends, self._ends)  # before the first segment is begun
                return
            except OSError as problem:
                self._observed.away(DISK, problem)
                await patience.wait(problem)

    async def _step(self, copiers: list[Copier]) -> None:
        """One cut: to the disk in all its topics, then archived by moving all ends at once.  Raises `OSError`."""
        self._more.clear()
        counts = self._cut(copiers)
        if any(counts.values()):
            await _all(copier.write(counts.get(copier.topic, 0)) for copier in copiers)
            ends = self._ends | {c.topic: c.archived_to + counts.get(c.topic, 0) for c in copiers}
            await asyncio.to_thread(self._archive.write_ends, ends)
            self._ends = ends
            for copier in copiers:
                copier.archived(counts.get(copier.topic, 0))
            self._moved.beat()
        await _all(copier.seal_if_due() for copier in copiers)
        if not any(copier.is_full for copier in copiers):
            await asyncio.sleep(SYNC_PAUSE_MS / 1000)  # what comes meanwhile shares the next step
            with suppress(TimeoutError):
                async with asyncio.timeout(SAMPLE_S):
                    await self._more.wait()

    def _cut(self, copiers: list[Copier]) -> dict[str, int]:
        """A topic that has ended is archived as far as it was read; then nobody waits for it."""
        parts = {copier.topic: copier.part for copier in copiers}
        while True:
            counts = closed_cut(parts)
            done = [topic for topic in self._ended if topic in parts and not counts[topic]]
            if not done:
                return counts
            for topic in done:
                del parts[topic]

    # --- ending

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Return once it holds, or settings that make no sense have ended a topic: that ends all."""
        while not holds() and not any(isinstance(problem, BadSettings) for problem in self._ended.values()):
            await self._moved.wait()

    async def _all_archived(self, copiers: list[Copier]) -> None:
        tails = {copier.topic: (await copier.bounds())[1] for copier in copiers}
        await self._until(lambda: all(c.topic in self._ended or c.archived_to >= tails[c.topic] for c in copiers))

    async def _none_left(self, copiers: list[Copier]) -> None:
        await self._until(lambda: len(self._ended) == len(copiers))


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """At once; raises the first failure when all have ended, so that nothing goes on behind the caller's back."""
    for problem in await asyncio.gather(*work, return_exceptions=True):
        if problem is not None:
            raise problem
