"""What travels between clients and processes, and is remembered: commands, queries, and what was answered."""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import TypeVar

from bank.app import app
from bank.v1.queries_pb2 import GetStatement
from bennu_cserver.routes import Wanted, batch_no_of
from bennu_cserver.submission import ANYBODY, Caller, Reply
from tests.simulation.process import Process
from tests.simulation.said import Command, Read, Told, Wish, reason_of
from tests.simulation.world import World

T = TypeVar("T")
PATIENCE_S = 3.0
"""How long a client waits for an answer."""

OK, REJECTED = 0, 9


class Network:
    """The way from clients to processes and back; either half is lost now and then."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._history = world.history
        self._random = world.random

    async def ask(self, process: Process, commands: list[Command], caller: Caller = ANYBODY) -> list[Reply] | None:
        """Have a process execute commands of one partition; None if no answer came in time."""
        for command in commands:
            self._history.attempt(command)
        number = self._number_of(commands[0])
        answer: asyncio.Future[tuple[list[Reply], int]] = self._world.loop.create_future()

        async def handle() -> None:
            replies, batch_no = await process.answer(commands, caller)
            if not process.dead:
                process.told[number] = max(process.told[number], batch_no)
                for command, reply in zip(commands, replies, strict=True):
                    self._tell(command, reply, number)
                self._send_back(answer, (replies, batch_no))

        replies, batch_no = await self._call(process, handle, answer) or (None, 0)
        for command, (code, _) in zip(commands, replies or (), strict=False):
            if code == OK:
                account = str(getattr(command.message, "account", ""))
                self._world.acknowledged.setdefault(account, set()).add(command.key)
                self._world.newest[number] = max(self._world.newest[number], batch_no)
        return replies

    def _number_of(self, command: Command) -> int:
        return self._world.partition_of(app.commands[command.type_name].key(command.message))

    def _tell(self, command: Command, reply: Reply, number: int) -> None:
        code, body = reply
        told = Told(command, code, body, reason_of(code, body), number, len(self._world.journal(number)))
        self._history.told.append(told)
        self._world.note(f"{command.command_id} {command.type_name}: {code} {told.reason}")

    async def read(self, process: Process, account: str, *, linearizable: bool, batch_no: int = 0) -> Reply | None:
        """Ask for an account's statement and remember what was answered; None if nothing was in time."""
        number = self._world.partition_of(account)
        wish = Wish(account, number, linearizable, batch_no, frozenset(self._world.acknowledged[account]))
        answer: asyncio.Future[Reply] = self._world.loop.create_future()

        async def handle() -> None:
            reply = await self._answer(process, wish)
            if reply is not None:
                self._send_back(answer, reply)

        return await self._call(process, handle, answer)

    async def _answer(self, process: Process, wish: Wish) -> Reply | None:
        rule, told_before = app.queries["bank.v1.GetStatement"], process.told[wish.partition]
        member = process.members[wish.partition]
        followed = not wish.linearizable and member.partition is None and member.followed is not None
        reply, token = await process.routes.ask(
            rule, GetStatement(account=wish.account), Wanted(wish.linearizable, wish.batch_no)
        )
        if process.dead:
            return None
        self._world.note(f"{process.label} answers a query for {wish.account}: {reply[0]} {token}")
        if reply[0] in (OK, REJECTED):
            number, end = batch_no_of(token), len(self._world.journal(wish.partition))
            process.told[wish.partition] = max(process.told[wish.partition], number)
            view = reply[1] if reply[0] == OK else b""
            self._history.reads.append(Read(wish, view, end, number, told_before, followed))
        return reply

    async def _call(
        self, process: Process, handle: Callable[[], Coroutine[None, None, None]], answer: "asyncio.Future[T]"
    ) -> T | None:
        if not self._lost():
            await asyncio.sleep(self._random.random() * 0.01)
            if process.dead:
                return None
            process.call(handle())
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await answer
        except TimeoutError:
            return None

    def _send_back(self, answer: "asyncio.Future[T]", reply: T) -> None:
        def arrive() -> None:
            if not answer.done():
                answer.set_result(reply)

        if not self._lost():
            self._world.loop.call_later(self._random.random() * 0.01, arrive, context=Context())

    def _lost(self) -> bool:
        return self._random.random() < self._world.neighbours.lost
