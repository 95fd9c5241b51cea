"""Three logs that refer to one another as those of a bank do: events, commands, and a saga between them."""

from collections.abc import Sequence
from random import Random

from google.protobuf.message import Message

from bennu.log.port import Log
from bennu.replica.journal import digest_of, encode
from bennu.v1.command_pb2 import CommandBatch
from bennu.v1.position_pb2 import LogPosition, StreamCursor
from bennu.v1.saga_pb2 import SagaCommandIssued
from tests.journal_writer import Entry, JournalWriter

EVENTS, COMMANDS, SAGA = TOPICS = ("bank-events-0", "bank-commands-0", "bank-saga-0")


class Journal(JournalWriter):
    """With batches that say what was read and sent."""

    async def advance(
        self, events: Sequence[Message] = (), *, read: dict[str, int] | None = None, sent: dict[str, int] | None = None
    ) -> None:
        """One batch."""
        batch = self.build([Entry("c", events)] if events else [], recorded_at_us=1)
        batch.inputs.extend(LogPosition(topic=topic, offset=offset) for topic, offset in (read or {}).items())
        batch.outboxes.extend(StreamCursor(stream=topic, last_no=no) for topic, no in (sent or {}).items())
        body = encode(batch)
        await self.append(body)
        last = self.position
        self.position = last._replace(
            batch_no=last.batch_no + 1, next_seq=last.next_seq + len(events), digest=digest_of(body)
        )


class Bank:
    """Each step appends one record whose causes are all there."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.events = Journal(log, EVENTS)
        self.saga = Journal(log, SAGA)
        self._issued = self._sent = self._confirmed = self._commands = 0

    async def open(self) -> None:
        """Make the topics, and begin an epoch in both journals."""
        for topic in TOPICS:
            await self._log.create(topic)
        await self.events.epoch()
        await self.saga.epoch()

    async def step(self, chance: Random) -> None:
        """What happens next is chance."""
        await chance.choice((self.take_commands, self.react, self.send, self.hear))()

    async def take_commands(self) -> None:
        """CServer reads the command log."""
        await self.events.advance(read={COMMANDS: self._commands})

    async def react(self) -> None:
        """The saga reads events and issues commands."""
        self._issued += 1
        issued = SagaCommandIssued(destination=COMMANDS, no=self._issued, command_id=f"saga/{self._issued}")
        await self.saga.advance([issued], read={EVENTS: self.events.position.offset})

    async def send(self) -> None:
        """It sends what it has issued."""
        if self._sent == self._issued:
            return await self.react()
        count = self._issued - self._sent
        batch = CommandBatch(format_version=1, source=SAGA, first_no=self._sent + 1, payloads=[b"x"] * count)
        self._commands = await self._log.append(COMMANDS, batch.SerializeToString()) + 1
        self._sent = self._issued
        return None

    async def hear(self) -> None:
        """It journals the receipts."""
        self._confirmed = self._sent
        await self.saga.advance(sent={COMMANDS: self._confirmed})
