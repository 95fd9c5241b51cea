"""A leader without a log: it decides, and its journal is a list of records, chained as they would be on a log."""

from typing import NamedTuple

from google.protobuf.message import Message

from bennu.domain import App
from bennu.domain.app import CommandRule
from bennu.replica.batch import OpenBatch
from bennu.replica.decision import Decision
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import FORMAT_VERSION, JournalReader, Position, encode
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EpochStart, EventBatch

ORIGIN = Origin(actor="tester")


class Command(NamedTuple):
    """As a fold and a batch have it."""

    command_id: str
    type_name: str
    rule: CommandRule
    message: Message
    key: str
    digest: bytes = bytes(16)
    origin: Origin = ORIGIN


class Leader:
    """Makes a batch of each call of `decide`.  `records` are the journal's; `batches` are those that are batches."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.fold = AggregateFold(app)
        self.topic = f"{app.name}-events-0"
        self.records: list[bytes] = []
        self.batches: list[EventBatch] = []
        self._reader = JournalReader(Position(self.topic))
        start = EpochStart(format_version=FORMAT_VERSION, epoch=1, term=7, partitions=1, window_count=1000)
        start.window_age_ms = 1000
        self._append(start)

    def decide(self, *commands: Message) -> EventBatch:
        """One batch, of which each command is called by its number and that of the batch."""
        opened, number = OpenBatch(1), len(self.batches) + 1
        for n, command in enumerate(commands):
            asked = self._asked(f"{number}-{n}", command)
            opened.add(asked, self.fold.decide_all((asked,), 1)[0])
        batch, last = opened.build(), self._reader.position
        batch.format_version, batch.epoch, batch.term = FORMAT_VERSION, last.epoch, last.term
        batch.batch_no, batch.first_seq, batch.prev_digest = number, last.next_seq, last.digest
        batch.state_digest = self.fold.digest()
        self.batches.append(batch)
        self._append(batch)
        return batch

    def attempt(self, command: Message) -> Decision:
        """A dry run."""
        return self.fold.try_out(self._asked("tried", command), 1)

    def ask(self, query: Message) -> None:
        """Answered from memory; nothing of it is journaled."""
        self.fold.answer(self.app.queries[query.DESCRIPTOR.full_name], query)

    def _asked(self, command_id: str, command: Message) -> Command:
        rule = self.app.commands[command.DESCRIPTOR.full_name]
        return Command(command_id, rule.type_name, rule, command, rule.key(command))

    def _append(self, record: EpochStart | EventBatch) -> None:
        body = encode(record)
        self._reader.judge(len(self.records), record, body)
        self.records.append(body)
