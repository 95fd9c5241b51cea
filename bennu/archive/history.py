"""What a record refers to in other logs, so that an archive can be one that could be restored at any moment.

Logs refer to one another: a batch of events says how far the command log was read, a saga's batch how far the events
were, and the commands of a saga stand in its journal first.  A restored log must hold all that another one refers to,
so a record is archived with its causes or after them.  Causes come first in time: some record can always be archived.

    Cause("bank-commands-0", offset=17)                  that log up to there
    Cause("bank-saga-0", "bank-commands-0", number=9)    that journal up to its command 9 for this log

`numbers` are the second kind: of a saga's journal the greatest number issued to each command log, of a command log the
greatest one taken from each saga.  They, and the place in the journal's history, are carried from segment to segment.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from google.protobuf.message import DecodeError

from bennu.errors import BadSettings
from bennu.replica.journal import JournalReader, Position, Verdict, decode
from bennu.v1.command_pb2 import CommandBatch
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu.v1.saga_pb2 import SagaCommandIssued

ISSUED = SagaCommandIssued.DESCRIPTOR.full_name


class Cause(NamedTuple):
    """What must be archived first."""

    topic: str
    stream: str = ""
    number: int = 0
    offset: int = 0


class History(Protocol):
    """One topic's, as far as it is archived."""

    numbers: dict[str, int]

    def causes(self, offset: int, body: bytes) -> list[Cause]:
        """Of a record to come.  Raises `RecordBroken`."""

    def take(self, offset: int, body: bytes) -> list[tuple[str, int]]:
        """Go past it; the numbers that it leads to.  Raises `JournalBroken` where no legal history goes on so."""

    def carried(self) -> bytes:
        """All of this, for the header of the segment that comes next."""

    def resume(self, carried: bytes) -> None:
        """Be again what `carried` was taken from."""


def history_of(topic: str, partitions: int = 0) -> History:
    """By the kind of the topic; `partitions`: how many the app has, 0 if nobody says."""
    return CommandsHistory(topic) if "-commands-" in topic else JournalHistory(topic, partitions)


class CommandsHistory:
    """Of a command log.  Anybody may write to it; what is no command batch has no causes."""

    def __init__(self, topic: str) -> None:
        self.numbers: dict[str, int] = {}
        self._topic = topic

    def causes(self, offset: int, body: bytes) -> list[Cause]:
        batch = _commands(body)
        return [Cause(batch.source, self._topic, number=_last_no(batch))] if batch is not None else []

    def take(self, offset: int, body: bytes) -> list[tuple[str, int]]:
        if (batch := _commands(body)) is None:
            return []
        self.numbers[batch.source] = max(self.numbers.get(batch.source, 0), _last_no(batch))
        return [(batch.source, self.numbers[batch.source])]

    def carried(self) -> bytes:
        return json.dumps({"numbers": self.numbers}).encode()

    def resume(self, carried: bytes) -> None:
        self.numbers = json.loads(carried)["numbers"]


def _commands(body: bytes) -> CommandBatch | None:
    """A saga's; None for one without numbers."""
    try:
        batch = CommandBatch.FromString(body)
    except DecodeError:
        return None
    return batch if batch.source and batch.payloads else None


def _last_no(batch: CommandBatch) -> int:
    return batch.first_no + len(batch.payloads) - 1


class JournalHistory:
    """Of a domain's or a saga's journal, judged as every replica judges it."""

    def __init__(self, topic: str, partitions: int) -> None:
        self.numbers: dict[str, int] = {}
        self.reader = JournalReader(Position(topic))
        self._told = partitions
        self._partitions = 0

    def causes(self, offset: int, body: bytes) -> list[Cause]:
        record = decode(body, where=f"{self.reader.position.topic}, offset {offset}")
        if isinstance(record, EpochStart):
            return []
        topic = self.reader.position.topic
        read = [Cause(position.topic, offset=position.offset) for position in record.inputs]
        sent = [Cause(cursor.stream, topic, number=cursor.last_no) for cursor in record.outboxes]
        return read + sent

    def take(self, offset: int, body: bytes) -> list[tuple[str, int]]:
        verdict, record = self.reader.classify(offset, body)
        if isinstance(record, EpochStart):
            self._check_partitions(record.partitions)
            return []
        issued = list(_issued(record)) if verdict is Verdict.BATCH else []
        self.numbers.update(issued)
        return issued

    def _check_partitions(self, partitions: int) -> None:
        self._partitions = partitions
        if self._told and partitions and partitions != self._told:
            raise BadSettings(
                f"{self.reader.position.topic}: the app has {partitions} partitions, but this process was told "
                f"{self._told}: say --partitions {partitions}, or the others are not archived"
            )

    def carried(self) -> bytes:
        position = self.reader.position._asdict()
        position["digest"] = self.reader.position.digest.hex()
        told = {"numbers": self.numbers, "position": position, "partitions": self._partitions}
        return json.dumps(told).encode()

    def resume(self, carried: bytes) -> None:
        told = json.loads(carried)
        self.numbers = told["numbers"]
        self.reader.position = Position(**told["position"] | {"digest": bytes.fromhex(told["position"]["digest"])})
        self._check_partitions(told["partitions"])


def _issued(batch: EventBatch) -> Iterator[tuple[str, int]]:
    """(command log, number) of each command that a saga issued here; the numbers of one log rise."""
    for index, raw in zip(batch.event_type_indexes, batch.events, strict=True):
        if batch.event_types[index] == ISSUED:
            issued = SagaCommandIssued.FromString(raw)
            yield issued.destination, issued.no
