"""A world of poison events: its journals, loops over them, and the fold that says what must become of them."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from random import Random

import asyncpg
from google.protobuf.message import Message

from bank.v1.events_pb2 import Deposited
from bennu.domain import App
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Log
from tests.journal_writer import ACTOR, Entry, JournalWriter
from tests.qserver.loops import looping
from tests.qserver.poison import APP, MENDED, MENDED_APP, Said, Spec, expected, found, random_event, wish
from tests.qserver.serving import until

START_US = 1_700_000_000_123_457
PROJECTED = "SELECT partition, log_offset FROM bennu.positions WHERE projection = 'cells'"
CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'bennu test' AND datname = current_database()
"""
NOTHING_WISHED = "SELECT NOT EXISTS (SELECT FROM bennu.dead_letters WHERE wish IS NOT NULL)"


class Letters:
    """Journals of accounts with poison in them, and what must become of it."""

    def __init__(self, dsn: str, *, seed: int = 0, partitions: int = 1, log: Log | None = None) -> None:
        print(f"seed {seed}")
        self.random, self.dsn, self.app = Random(seed), dsn, APP
        self.log = log or MemoryLog(MemoryBroker())
        self.specs = [Spec(number) for number in range(partitions)]
        self.writers = [
            JournalWriter(self.log, f"bank-events-{number}", partition=number, partitions=partitions)
            for number in range(partitions)
        ]
        self.now_us = START_US

    async def create(self) -> None:
        """Make the journals."""
        for writer in self.writers:
            await self.log.create(writer.position.topic)
            await writer.epoch()

    def mend(self) -> None:
        """The rules are mended from here on."""
        self.app = MENDED_APP
        for spec in self.specs:
            spec.mended = MENDED

    async def say(self, *events: Message, partition: int = 0) -> None:
        """One batch, of an entry for each event."""
        self.now_us += 1
        writer, spec = self.writers[partition], self.specs[partition]
        entries = []
        for seq, event in enumerate(events, writer.position.next_seq):
            command_id = f"c{seq}"
            entries.append(Entry(command_id, [event]))
            if isinstance(event, Deposited):
                spec.take(seq, Said(event, f"{seq} by {ACTOR} for {command_id} at {self.now_us}"))
        await writer.batch(entries, recorded_at_us=self.now_us)

    async def say_at_random(self, *, batches: int, poison: float) -> None:
        """Batches of random sizes in random partitions."""
        for _ in range(batches):
            partition = self.random.randrange(len(self.writers))
            size = self.random.choice((0, 1, 2, 20))
            events = [random_event(self.random, partition, poison=poison) for _ in range(size)]
            await self.say(*events, partition=partition)

    def looping(self, app: App | None = None) -> AbstractAsyncContextManager[None]:
        """See `loops.looping`."""
        return looping(self.log, self.dsn, app=app or self.app, partitions=len(self.writers))

    async def cut_off(self, connection: "asyncpg.Connection[asyncpg.Record]", *, times: int) -> None:
        """Loops that run into what there is, lose their sessions, and are ended wherever they are."""
        for _ in range(times):
            async with self.looping():
                await self.say_at_random(batches=8, poison=0.05)
                for _ in range(self.random.randrange(3)):
                    await connection.execute(CUT)
                    await self.say_at_random(batches=1, poison=0.05)
                await asyncio.sleep(self.random.random() / 20)  # chance: where the loops are cut off

    async def settled(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Wait until all is projected and nothing wished for; then everything is as the fold says."""
        ends = {number: writer.position.offset for number, writer in enumerate(self.writers)}

        async def quiet() -> bool:
            rows = await connection.fetch(PROJECTED)
            return {row["partition"]: row["log_offset"] for row in rows} == ends and bool(
                await connection.fetchval(NOTHING_WISHED)
            )

        await until(quiet)
        there, wanted = await found(connection), expected(self.specs)
        for seq, letter in there["letters"].items():
            if letter.state == "applied":  # one that came before a retry was parked for a moment, one after it never
                wanted["letters"].setdefault(seq, letter)
        for table, rows in wanted.items():
            assert there[table] == rows, table

    async def wish(self, connection: "asyncpg.Connection[asyncpg.Record]", what: str, keys: Sequence[str]) -> None:
        """Of keys that are parked."""
        for spec in self.specs:
            for key in spec.parked_keys():
                if key in keys:
                    await wish(connection, spec, key=key, what=what)
                    spec.retry(key) if what == "retry" else spec.discard(key)

    def some_keys(self) -> list[str]:
        """About half of those that are parked."""
        return [key for spec in self.specs for key in spec.parked_keys() if self.random.random() < 0.5]
