"""Journals of a bank whose events are shown as a table, and what the table must hold: parsed back, the same events."""

import asyncio
import json
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple, TypeAlias

import asyncpg
from google.protobuf import json_format
from google.protobuf.message import Message

from bank.projections import Ledger
from bennu.domain import App, EventTable
from bennu.domain.messages import key_of
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.v1.command_pb2 import Origin
from tests.journal_writer import Entry, JournalWriter
from tests.qserver.history import Bank, at, write_history
from tests.qserver.loops import bank_with
from tests.qserver.serving import effective, until

BANK = bank_with(Ledger, EventTable)
PROJECTED = """
SELECT partition, log_offset FROM bennu.positions NATURAL JOIN bennu.generations
WHERE projection = 'events' AND state = 'live'
"""
PIECES = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass($1) ORDER BY 1"
Reader: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Row(NamedTuple):
    """What is said of an event, beside its payload."""

    partition: int
    seq: int
    recorded_at: Any
    type: str
    aggregate: str
    key: str
    command_id: str
    command_type: str
    causation_id: str | None
    correlation_id: str | None
    actor: str
    reason: str | None
    traceparent: str | None


class Told:
    """Journals, and what came of them."""

    def __init__(self, *, partitions: int = 1, seed: int = 1, app: App = BANK) -> None:
        print(f"seed {seed}")
        self.log, self.app, self.random = MemoryLog(MemoryBroker()), app, Random(seed)
        self.banks = [Bank(Random(f"{seed}-{number}"), number) for number in range(partitions)]
        self.writers = [
            JournalWriter(self.log, f"bank-events-{number}", partition=number, partitions=partitions)
            for number in range(partitions)
        ]

    async def create(self) -> None:
        """Make the journals."""
        for writer in self.writers:
            await self.log.create(writer.position.topic)
            await writer.epoch()

    async def write(self, batches: int) -> None:
        """Random history of every partition."""
        for writer, bank in zip(self.writers, self.banks, strict=True):
            await write_history(writer, bank, batches=batches)

    async def say(
        self, event: Message, *, at_us: int, partition: int = 0, origin: Origin | None = None, command_id: str = ""
    ) -> None:
        """One event in a batch of its own."""
        writer = self.writers[partition]
        batch = writer.build([Entry(command_id or f"c{writer.position.next_seq}", [event])], recorded_at_us=at_us)
        if origin is not None:
            batch.origins[0].CopyFrom(origin)
        await writer.take(batch)

    async def projected(self, connection: Reader) -> None:
        """Wait until the events of all partitions are."""
        ends = {number: writer.position.offset for number, writer in enumerate(self.writers)}

        async def so_far() -> bool:
            try:
                rows = await connection.fetch(PROJECTED)
            except asyncpg.UndefinedTableError:
                return False
            return {row["partition"]: row["log_offset"] for row in rows} == ends

        await until(so_far)

    async def shown(self, connection: Reader, *, least_us: int = -(2**63)) -> None:
        """Wait until all is projected; then the table holds exactly the events since then, each once."""
        await self.projected(connection)
        rows = await connection.fetch("SELECT * FROM bank.events ORDER BY partition, seq")
        found = [(_row(row), self._parsed(row["type"], row["payload"])) for row in rows]
        wanted = [each for number in range(len(self.writers)) for each in await self._wanted(number, least_us)]
        assert found == wanted

    def _parsed(self, type_name: str, payload: str) -> Message:
        kind = self.app.message(type_name)
        assert kind is not None
        return json_format.Parse(payload, kind())

    async def _wanted(self, partition: int, least_us: int) -> list[tuple[Row, Message]]:
        wanted = []
        for batch in await effective(self.log, self.writers[partition].position.topic):
            raws, seq = iter(zip(batch.event_type_indexes, batch.events, strict=True)), batch.first_seq
            for entry, command_id in enumerate(batch.command_ids):
                for _ in range(batch.event_counts[entry]):
                    index, raw = next(raws)
                    name = batch.event_types[index]
                    event = self.app.events[name].message.FromString(raw)
                    if batch.recorded_at_us >= least_us:
                        aggregate = self.app.kinds[self.app.events[name].aggregate].state.__name__
                        place = (partition, seq, at(batch.recorded_at_us), name, aggregate, key_of(type(event))(event))
                        wanted.append((Row(*place, command_id, "test.Command", *_said(batch.origins[0])), event))
                    seq += 1
        return wanted


def _said(origin: Origin) -> Sequence[Any]:
    return (
        origin.causation_id or None,
        origin.correlation_id or None,
        origin.actor,
        origin.reason or None,
        origin.traceparent or None,
    )


def _row(row: asyncpg.Record) -> Row:
    return Row(*(row[name] for name in Row._fields))


async def pieces_of(connection: Reader, generation: int = 1) -> list[str]:
    """Names of the pieces of the table, without its own."""
    rows = await connection.fetch(PIECES, f"bank.events_g{generation}")
    return [row[0].rpartition("_")[2] for row in rows]


async def payloads(connection: Reader) -> list[Any]:
    """In order."""
    rows = await connection.fetch("SELECT payload FROM bank.events ORDER BY partition, seq")
    return [json.loads(row[0]) for row in rows]


async def chance(random: Random) -> None:
    """Where loops are cut off."""
    await asyncio.sleep(random.random() / 10)
