"""A journal with everything in it that may stand in one, made by a real CServer and a few records from elsewhere."""

import asyncio
import shutil
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import bennu.log
from bank.v1.commands_pb2 import Deposit, OpenAccount, Withdraw
from bennu.replica.history import judged
from bennu.replica.journal import FORMAT_VERSION, Verdict, encode
from bennu.v1.journal_pb2 import EpochStart
from tests.cserver.served import Server
from tests.log.helpers import bodies

APP = "tests.cserver.faulty_app:app"
TOPIC = "bank-events-0"


class Journal:
    """`verdicts`: what each record is, by offset."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = Server(folder, app=APP, partitions=1)
        self.verdicts: list[str] = []

    @property
    def log_url(self) -> str:
        """What `--log` takes."""
        return self.server.log_url

    def make(self) -> None:
        """An epoch with events, rejections and a failed rule; records that do not count; another epoch."""
        self._serve(self._first_epoch)
        asyncio.run(self._add_what_does_not_count())
        self._serve(lambda: self._ask(Deposit(account="alice", amount_minor=5, currency="EUR"), "late"))
        self.verdicts = asyncio.run(self._verdicts())

    def _serve(self, work: Callable[[], object]) -> None:
        self.server.start()
        try:
            work()
        finally:
            code = self.server.stop()
        assert code == 0

    def _first_epoch(self) -> None:
        for name in ("alice", "raises"):
            self._ask(OpenAccount(account=name, owner="Ann", currency="EUR"), f"open-{name}")
        self._ask(Deposit(account="alice", amount_minor=100, currency="EUR"), "deposit")
        self._ask(Withdraw(account="alice", amount_minor=900, currency="EUR"), "too-much")
        self._ask(Deposit(account="raises", amount_minor=1, currency="EUR"), "failed")

    def _ask(self, command: OpenAccount | Deposit | Withdraw, command_id: str) -> None:
        self.server.ask(command, {"idempotency-key": command_id, "bennu-actor": "teller"})

    async def _add_what_does_not_count(self) -> None:
        """The last batch again, and the start of an epoch that has been."""
        async with bennu.log.open(self.log_url) as log:
            await log.append(TOPIC, (await bodies(log, TOPIC))[-1])
            await log.append(
                TOPIC, encode(EpochStart(format_version=FORMAT_VERSION, epoch=1, term=7, node="late", partitions=1))
            )

    async def _verdicts(self) -> list[str]:
        words = {Verdict.EPOCH: "effective", Verdict.BATCH: "effective"}
        async with bennu.log.open(self.log_url) as log:
            return [words.get(found.verdict, found.verdict.name.lower()) async for found in judged(log, TOPIC)]

    def spoilt(self, folder: Path, offset: int, *, checksum_too: bool) -> str:
        """URL of a copy in which a bit of this record is flipped; `checksum_too`: only the journal itself can tell."""
        copy = folder / "spoilt"
        shutil.copytree(self.folder / "log", copy)
        with closing(sqlite3.connect(copy / f"{TOPIC}.sqlite")) as file, file:
            (body,) = file.execute("SELECT body FROM record WHERE offset = ?", (offset,)).fetchone()
            body = body[:-1] + bytes([body[-1] ^ 1])
            file.execute("UPDATE record SET body = ? WHERE offset = ?", (body, offset))
            if checksum_too:
                file.execute("UPDATE record SET crc = ? WHERE offset = ?", (zlib.crc32(body), offset))
        return f"sqlite:{copy}"
