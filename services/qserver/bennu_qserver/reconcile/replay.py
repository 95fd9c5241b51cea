"""The journal, from its first record to where the tables stand, into `ExpectedRows`.

Events that are parked, or were discarded, are left out; those that an operator had applied later are applied when they
were.  The position must be one that the journal leads to.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import aclosing

from bennu.errors import OffsetGone
from bennu.log.port import Log
from bennu.replica.history import records_between
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.snapshots.pace import Turn
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu_qserver.dead_letters import Stood
from bennu_qserver.events import Event
from bennu_qserver.positions import check_start
from bennu_qserver.reconcile.differences import Difference
from bennu_qserver.reconcile.expected import ExpectedRows
from bennu_qserver.reconcile.found import Found

TURN_EVENTS = 50
"""After so many events others have a turn."""


class _Letters:
    """Puts the events of a partition into the order in which they were applied, without those that were not."""

    def __init__(self, letters: Sequence[Stood]) -> None:
        self._aside = {one.seq for one in letters if not (one.applied and one.after is None)}
        self._later = deque(one for one in letters if one.applied and one.after is not None)
        self._kept: dict[int, Event] = {}
        self._to_keep = {one.seq for one in self._later}

    def ordered(self, event: Event) -> Iterator[Event]:
        """What is applied up to this event, which comes next in the journal."""
        if self._aside:
            yield from self.due(event.meta.seq)
        if event.meta.seq not in self._aside:
            yield event
        elif event.meta.seq in self._to_keep:
            self._kept[event.meta.seq] = event

    def due(self, seq: int) -> Iterator[Event]:
        """What an operator had applied before event `seq` was."""
        while self._later and (self._later[0].after or 0) < seq:
            event = self._kept.pop(self._later.popleft().seq, None)
            if event is not None:  # else this build has no rule for it
                yield event


class Replay:
    """Of one generation's journals."""

    def __init__(self, log: Log, found: Found, rows: ExpectedRows, *, turn: Turn) -> None:
        self._log = log
        self._found = found
        self._rows = rows
        self._turn = turn
        self.events = 0
        self.differences: list[Difference] = []
        """Of positions, and events that can't be applied though they are not parked."""

    async def run(self) -> None:
        """All partitions.  Raises the `Final` errors of log and journal, `TooMany`, and `Unavailable`."""
        for partition, position in self._found.positions.items():
            await self._partition(partition, position)

    async def _partition(self, partition: int, position: Position) -> None:
        topic = self._found.compiled.topic(partition)
        letters = _Letters(self._found.letters[partition])
        reader = JournalReader(Position(topic))
        if position.offset:
            first, tail = await self._log.bounds(topic)
            if first > 0:
                raise OffsetGone(
                    f"{topic}: the first record kept has offset {first}, and what tables must hold begins at 0; "
                    "--archive names the folder that has the others"
                )
            async with aclosing(records_between(self._log, topic, 0, end=min(position.offset, tail))) as found:
                async for offset, body in found:
                    verdict, said = reader.classify(offset, body)
                    await self._record(verdict, said, partition, where=f"{topic}, offset {offset}", letters=letters)
        for event in letters.due(position.next_seq):
            self._take(event)
        self._check(position, reader.position, partition)

    async def _record(
        self, verdict: Verdict, said: EpochStart | EventBatch, partition: int, *, where: str, letters: _Letters
    ) -> None:
        await self._turn()
        if verdict is Verdict.EPOCH and isinstance(said, EpochStart):
            check_start(said, partition, len(self._found.positions), where=where)
        elif verdict is Verdict.BATCH and isinstance(said, EventBatch):
            for event in self._found.compiled.events(said, partition=partition, where=where):
                for due in letters.ordered(event):
                    self._take(due)
                    if self.events % TURN_EVENTS == 0:
                        await self._turn()

    def _take(self, event: Event) -> None:
        self.events += 1
        if fault := self._rows.take(event):
            where = (event.meta.partition, event.meta.seq)
            self.differences.append(Difference.of_event(where, event.message.DESCRIPTOR.full_name, fault))

    def _check(self, stands: Position, leads: Position, partition: int) -> None:
        if stands != leads:
            pairs = zip(Position._fields, stands, leads, strict=True)
            wrong = {name: (expected, found) for name, found, expected in pairs if expected != found}
            self.differences.append(Difference.of_position(partition, wrong))
