"""The way from one simulated process to another: requests and answers travel, and are lost."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextvars import Context
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.message import Message

from bank.app import app
from bennu.v1.members_pb2 import Seat
from bennu_cserver import local
from bennu_cserver.local import Answered, Unsettled
from bennu_cserver.peers import Peers
from bennu_cserver.replies import UNKNOWN
from bennu_cserver.submission import Caller, Prepared, Reply

if TYPE_CHECKING:
    from tests.simulation.process import Process

T = TypeVar("T")
Work = Callable[["Process"], Coroutine[Any, Any, T]]
PATIENCE_S = 3.0


class Neighbours(dict[str, "Process"]):
    """The processes by label, and the network between them."""

    lost = 0.03
    """How often a request or a reply is lost on its way; also between clients and processes."""


class SimulatedPeers(Peers):
    """Addresses are labels of processes."""

    def __init__(self, neighbours: Neighbours, random: Random) -> None:
        super().__init__()
        self._neighbours = neighbours
        self._random = random

    def gave_up(self, addresses: Sequence[str], seat: Seat) -> None:
        told = Seat.FromString(seat.SerializeToString())
        for address in addresses:
            process = self._neighbours.get(address)
            if process is not None and self._random.random() >= self._neighbours.lost:
                process.call(self._hear(process, told))

    async def _hear(self, process: "Process", seat: Seat) -> None:
        await asyncio.sleep(self._random.random() * 0.3)
        process.routes.gave_up_elsewhere(seat)

    async def execute(self, address: str, commands: Sequence[Prepared], caller: Caller) -> Answered:
        async def decided(process: "Process") -> Answered:
            partition = await process.routes.soon_led(process.routes.partition_of(commands[0]))
            return await local.decide(partition, commands, 100 * len(commands), caller=caller)

        return await self._ask(address, decided)

    async def ask(self, address: str, query: Message, *, linearizable: bool, caller: Caller) -> tuple[Reply, str]:
        rule = app.queries[query.DESCRIPTOR.full_name]

        async def answered(process: "Process") -> tuple[Reply, str]:
            partition = await process.routes.soon_led_for(rule.key(query))
            return await local.answer(partition, rule, query, linearizable=linearizable)

        return await self._ask(address, answered)

    async def _ask(self, address: str, work: "Work[T]") -> T:
        process = self._neighbours.get(address)
        await asyncio.sleep(self._random.random() * 0.01)
        if process is None or process.dead:
            raise Unsettled(UNKNOWN)
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._random.random() >= self._neighbours.lost:
            process.call(self._answered(process, work, answer))
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await answer
        except TimeoutError:
            raise Unsettled(UNKNOWN) from None

    async def _answered(self, process: "Process", work: "Work[T]", answer: "asyncio.Future[T]") -> None:
        try:
            found, problem = await work(process), None
        except Unsettled as unsettled:
            found, problem = None, unsettled

        def arrive() -> None:
            if answer.done():
                return
            if problem is not None:
                answer.set_exception(problem)
            else:
                answer.set_result(found)  # type: ignore[arg-type]  # without a problem it was found

        if not process.dead and self._random.random() >= self._neighbours.lost:
            asyncio.get_running_loop().call_later(self._random.random() * 0.01, arrive, context=Context())
