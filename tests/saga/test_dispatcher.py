"""Sending the outbox to a log that refuses, keeps silent, and takes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
import structlog

from bennu.errors import AppendRefused, AppendUnknown, Final
from bennu.log.port import Record
from bennu.testing.loop import run
from bennu.v1.command_pb2 import CommandBatch
from bennu_saga.dispatcher import Dispatcher
from bennu_saga.limits import RECORD_BYTES
from bennu_saga.outbox import Box, Command

TOPIC = "bank-commands-0"
UNKNOWN = AppendUnknown("no answer")
REFUSED = AppendRefused("busy", final=False)
NEVER = AppendRefused("too long", final=True)


class ScriptedLog:
    """A `Log` whose appends end as told, one after another, and well afterwards."""

    def __init__(self, *ends: Exception) -> None:
        self.sent: list[bytes] = []
        self.in_flight = 0
        self._ends = list(ends)

    async def append(self, topic: str, record: bytes, *, timeout_ms: int = 3000) -> int:
        assert topic == TOPIC
        assert self.in_flight == 0, "one record at a time"
        self.in_flight += 1
        await asyncio.sleep(timeout_ms / 1000)
        self.in_flight -= 1
        self.sent.append(record)
        if self._ends:
            raise self._ends.pop(0)
        return len(self.sent)

    async def create(self, topic: str) -> None:
        raise AssertionError("nobody makes topics here")

    async def bounds(self, topic: str) -> tuple[int, int]:
        raise AssertionError("nobody asks for bounds here")

    def read(self, topic: str, offset: int) -> AsyncGenerator[Sequence[Record], None]:
        raise AssertionError("nobody reads here")


class Sending:
    """A dispatcher at work on a box, and the receipts that it told of."""

    def __init__(self, log: ScriptedLog, *sizes: int) -> None:
        self.box = Box(TOPIC)
        self.receipts: list[int] = []
        self._told = asyncio.Event()
        self.dispatcher = Dispatcher(log, "bank-saga-0", self.box, confirmed=self._confirmed)
        for size in sizes:
            self.issue(size)

    def issue(self, size: int = 1) -> None:
        """The next command, effective at once."""
        no = self.box.last_no + 1
        self.box.add(Command(no, f"saga:{no}", "bank.v1.Deposit", bytes(size), "", ("", "", "", "")))
        self.box.effective_no = no
        self.dispatcher.wake()

    def _confirmed(self, destination: str, last_no: int) -> None:
        assert destination == TOPIC
        self.box.confirm(last_no)
        self.receipts.append(last_no)
        self._told.set()

    async def until(self, last_no: int) -> None:
        """Run until this number has a receipt."""
        working = asyncio.create_task(self.dispatcher.run())
        try:
            while last_no not in self.receipts:
                self._told.clear()
                await asyncio.wait(
                    (working, asyncio.ensure_future(self._told.wait())), return_when=asyncio.FIRST_COMPLETED
                )
                if working.done():
                    working.result()
        finally:
            working.cancel()
            await asyncio.wait((working,))


def numbers(sent: Sequence[bytes]) -> list[tuple[int, int]]:
    """First number and count of each record."""
    batches = [CommandBatch.FromString(record) for record in sent]
    return [(batch.first_no, len(batch.command_ids)) for batch in batches]


def test_the_same_bytes_are_sent_until_there_is_a_receipt() -> None:
    """Refused or unknown: once more, unchanged, also when there is more to send by now."""

    async def scenario() -> None:
        log = ScriptedLog(UNKNOWN, REFUSED, UNKNOWN)
        sending = Sending(log, 1)
        asyncio.get_running_loop().call_later(4, sending.issue)
        await sending.until(2)
        assert log.sent[:4] == [log.sent[0]] * 4
        assert numbers(log.sent[3:]) == [(1, 1), (2, 1)]
        assert sending.receipts == [1, 2]

    with structlog.testing.capture_logs() as said:
        run(scenario())
    assert {line["topic"] for line in said} == {TOPIC}


def test_the_next_record_follows_the_receipt() -> None:
    """One record is on its way at a time, and numbers go up without a gap."""

    async def scenario() -> None:
        log = ScriptedLog()
        await Sending(log, *[RECORD_BYTES + 1] * 3).until(3)
        assert numbers(log.sent) == [(1, 1), (2, 1), (3, 1)]

    run(scenario())


def test_commands_that_wait_go_together() -> None:
    """What came up while a record was on its way shares the next one."""

    async def scenario() -> None:
        log = ScriptedLog()
        sending = Sending(log, 1)
        for _ in range(5):
            asyncio.get_running_loop().call_later(1, sending.issue)
        await sending.until(6)
        assert numbers(log.sent) == [(1, 1), (2, 5)]

    run(scenario())


def test_a_record_that_is_never_taken_stops_the_service() -> None:
    """A final refusal is not repeated; the error names the log."""

    async def scenario() -> None:
        log = ScriptedLog(NEVER)
        with pytest.raises(Final, match=f"{TOPIC}: the log will not take commands: too long"):
            await Sending(log, 1).until(1)
        assert len(log.sent) == 1

    run(scenario())
