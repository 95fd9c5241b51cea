"""A process's part in one partition of sagas."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from bennu.errors import BadSettings
from bennu.replica.clock import Clock
from bennu.replica.leader import Replica
from bennu.replica.member import Member as AnyMember
from bennu.replica.node import Node
from bennu_saga.definitions import Definitions
from bennu_saga.dispatcher import Dispatcher
from bennu_saga.event_input import EventJournalReader
from bennu_saga.fold import SagaFold
from bennu_saga.observed import Observed
from bennu_saga.reactor import Reactor
from bennu_saga.saga_loop import Partition
from bennu_saga.signals import Signals
from bennu_saga.state import COMPENSATION_FAILED
from bennu_saga.survey import Survey


class Member(AnyMember[SagaFold, Partition, Observed]):
    """One partition of an app's sagas in this process."""

    def __init__(
        self, definitions: Definitions, place: tuple[int, int], *, node: Node, others: Mapping[str, int] | None = None
    ) -> None:
        """`place`: number of the partition, and how many there are; `others`: how many each participant has."""
        name = definitions.app.name
        super().__init__(f"{name}-saga-{place[0]}", place, node=node)
        self._definitions = definitions
        self._counts = {name: self.partitions, **(others or {})}
        self._event_topics = self._topics_of("events")
        self._command_topics = self._topics_of("commands")

    def _topics_of(self, kind: str) -> list[str]:
        return [f"{name}-{kind}-{number}" for name, count in self._counts.items() for number in range(count)]

    @property
    def topics(self) -> list[str]:
        """All that it reads or writes."""
        return [self.topic, *self._event_topics, *self._command_topics]

    def new_fold(self) -> SagaFold:
        return SagaFold()

    def check(self, fold: SagaFold) -> None:
        """Sagas end on the definition they began with: an app that lacks it must not lead."""
        under_way = Counter((s.definition, s.version) for s in fold.sagas.values() if s.status != COMPENSATION_FAILED)
        for (name, version), count in under_way.items():
            if self._definitions.get(name, version) is None:
                raise BadSettings(
                    f"{self.topic}: {count} sagas of {name}, version {version}, are under way, but app "
                    f"`{self._definitions.app.name}` does not declare it; run the app that does until they have ended"
                )

    def new_leader(self, replica: Replica, fold: SagaFold, observed: Observed) -> Partition:
        partition = Partition(replica, fold, self.new_reactor(fold))
        observed.begin(self.number, fold)
        partition.when_effective.append(lambda: observed.effective(self.number, fold, partition.take_notes()))
        return partition

    def new_reactor(self, fold: SagaFold) -> Reactor:
        """What decides for the sagas in this memory."""
        return Reactor(self._definitions, fold, self._counts)

    async def beside(self, partition: Partition, observed: Observed) -> None:
        """Read events, send commands, keep time."""
        fold = partition.fold
        boxes = [fold.outbox.box(topic) for topic in dict.fromkeys((*self._command_topics, *fold.outbox.boxes))]
        async with asyncio.TaskGroup() as group:
            for reader in self._readers():
                group.create_task(reader.feed(self.log, partition))
            for box in boxes:
                dispatcher = Dispatcher(self.log, self.topic, box, confirmed=partition.confirmed)
                partition.when_effective.append(dispatcher.wake)
                group.create_task(dispatcher.run())
            group.create_task(Survey(self.log, partition, self._event_topics, observed=observed).run())

    def _readers(self) -> Iterator[EventJournalReader]:
        for app in self._definitions.app.apps:
            count = self._counts[app.name]
            signals = Signals(self._definitions, self.topic, (self.number, self.partitions), app=app)
            for number in range(count):
                yield EventJournalReader(signals, f"{app.name}-events-{number}", (number, count))

    def turn_away(self, partition: Partition) -> None:
        """What waits are records of journals, and the next leader reads them itself."""

    def ended(self, partition: Partition) -> None:
        """Operators who still wait hear that, and ask the next leader."""
        partition.abandon()


async def look_at_all(members: Sequence[Member], clock: Clock) -> None:
    """See `Member.look`."""
    for member in members:
        await member.look(clock)
