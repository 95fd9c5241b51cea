"""A leader without a log: it decides, and its journal is a list of records, chained as they would be on a log."""

from typing import NamedTuple

from google.protobuf.message import Message

from bennu.domain import App, Context
from bennu.replica.batch import OpenBatch
from bennu.replica.decision import Decision
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import FORMAT_VERSION, JournalReader, Position, encode
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EpochStart, EventBatch

ORIGIN = Origin(actor="tester")


class Command(NamedTuple):
    """As a batch has it."""

    command_id: str
    type_name: str
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
            rule = self.app.commands[command.DESCRIPTOR.full_name]
            decision = self.fold.decide(rule, command, Context(f"{number}-{n}", "tester", 1))
            opened.add(Command(f"{number}-{n}", rule.type_name), decision)
        batch, last = opened.build(), self._reader.position
        batch.format_version, batch.epoch, batch.term = FORMAT_VERSION, last.epoch, last.term
        batch.batch_no, batch.first_seq, batch.prev_digest = number, last.next_seq, last.digest
        batch.state_digest = self.fold.digest()
        self.batches.append(batch)
        self._append(batch)
        return batch

    def attempt(self, command: Message) -> Decision:
        """A dry run."""
        rule = self.app.commands[command.DESCRIPTOR.full_name]
        return self.fold.try_out(rule, command, Context("tried", "tester", 1))

    def ask(self, query: Message) -> None:
        """Answered from memory; nothing of it is journaled."""
        self.fold.answer(self.app.queries[query.DESCRIPTOR.full_name], query)

    def _append(self, record: EpochStart | EventBatch) -> None:
        body = encode(record)
        self._reader.judge(len(self.records), record, body)
        self.records.append(body)
