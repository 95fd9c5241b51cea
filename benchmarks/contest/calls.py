"""Entrants that are called by gRPC: CServer, and the two ceilings.  One client for all of them."""

import asyncio
import gc
import time
from itertools import count
from typing import NamedTuple

from bank.v1 import bank_pb2_grpc
from bank.v1.commands_pb2 import Deposit
from benchmarks.contest.place import Place, Server
from benchmarks.contest.port import Round
from benchmarks.frames import NAMES, deposit_frames
from benchmarks.stream import StreamClient

COMMANDS_IN_FLIGHT = 4_000
MAX_FRAMES_IN_FLIGHT = 64
"""CServer takes no more of one stream."""
WARM_S = 0.5
FIRST_GUESS = 10_000
"""Commands a second, before anything was measured."""
TICK_S = 0.002
"""A client that sends at a fixed rate sends what became due in each."""
CALL_TIMEOUT_S = 60.0

_serial = count()


class Who(NamedTuple):
    """A server, by the part that it has in a contest and the log under it."""

    part: str
    log: str = ""

    async def at(self, place: Place) -> Server:
        """The running process."""
        if self.part == "bennu":
            return await place.bennu(self.log)
        name = "-".join(filter(None, self))
        if self.part == "echo":
            return await place.program(name, "echo")
        return await place.program(name, "bare_loop", place.log_url(self.log, name))

    def __str__(self) -> str:
        return "/".join(filter(None, self))


class Clocks:
    """What server and client use from now on."""

    def __init__(self, server: Server) -> None:
        gc.collect()  # not a pause of this process in the middle
        self._server = server
        self._server_s, self._client_s = server.cpu_s(), time.process_time()

    def used_s(self) -> tuple[float, float]:
        """(of the server, of this process)."""
        return self._server.cpu_s() - self._server_s, time.process_time() - self._client_s


class Streamed:
    """Frames of so many deposits, a fixed number of commands in flight."""

    def __init__(self, who: Who, frame: int) -> None:
        self.name = f"{who}/stream/{frame}"
        self._who, self._frame = who, frame
        self._per_second = float(FIRST_GUESS)

    async def prepare(self, place: Place) -> None:
        self._server = await self._who.at(place)
        self._client = StreamClient(self._server.channel, self.name)
        for _ in range(2):
            self._per_second = (await self.round(WARM_S)).per_second

    async def round(self, seconds: float) -> Round:
        frames = deposit_frames(self._frame, _frames(self._per_second * seconds, self._frame), run=f"s{next(_serial)}")
        clocks, began_s = Clocks(self._server), time.perf_counter()
        in_flight = min(MAX_FRAMES_IN_FLIGHT, max(1, COMMANDS_IN_FLIGHT // self._frame))
        answered = await self._client.send(frames, in_flight=in_flight)
        took_s = time.perf_counter() - began_s
        latencies_ms = [each.took_ms for each in answered]
        return Round(len(frames) * self._frame, took_s, latencies_ms, *clocks.used_s())


class Called:
    """Typed calls of one deposit each, by so many callers, each of which waits for its answer."""

    def __init__(self, who: Who, callers: int) -> None:
        self.name = f"{who}/unary/{callers}"
        self._who, self._callers = who, callers

    async def prepare(self, place: Place) -> None:
        self._server = await self._who.at(place)
        self._bank = bank_pb2_grpc.BankStub(self._server.channel)
        await self.round(WARM_S)

    async def round(self, seconds: float) -> Round:
        run, numbers = f"u{next(_serial)}", count()
        latencies_ms: list[float] = []
        clocks, began_s = Clocks(self._server), time.perf_counter()

        async def caller() -> None:
            while (sent_s := time.perf_counter()) < began_s + seconds:
                number = next(numbers)
                await self._bank.Deposit(
                    Deposit(account=NAMES[number % len(NAMES)], currency="EUR", amount_minor=5),
                    metadata=(("idempotency-key", f"{run}-{number}"),),
                    timeout=CALL_TIMEOUT_S,
                )
                latencies_ms.append((time.perf_counter() - sent_s) * 1000)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._callers):
                group.create_task(caller())
        took_s = time.perf_counter() - began_s
        return Round(len(latencies_ms), took_s, latencies_ms, *clocks.used_s())


class OpenLoop:
    """So many commands a second whatever becomes of them; each is timed from when it was to be sent."""

    def __init__(self, who: Who, rate: int) -> None:
        self.name = f"{who}/open-loop/{rate}"
        self._who, self._rate = who, rate

    async def prepare(self, place: Place) -> None:
        self._server = await self._who.at(place)
        self._client = StreamClient(self._server.channel, self.name)
        await self.round(WARM_S)

    async def round(self, seconds: float) -> Round:
        size = max(1, round(self._rate * TICK_S))
        frames = deposit_frames(size, _frames(self._rate * seconds, size), run=f"o{next(_serial)}")
        clocks = Clocks(self._server)
        began_s = time.perf_counter() + TICK_S
        # A command is due when its turn comes at this rate; its frame is, when its last command is.
        due_s = [began_s + ((number + 1) * size - 1) / self._rate for number in range(len(frames))]
        answered = await self._client.send_at(frames, due_s)
        took_s = max(each.at_s for each in answered) - began_s
        latencies_ms = [
            (frame.at_s - began_s - (number * size + i) / self._rate) * 1000
            for number, frame in enumerate(answered)
            for i in range(size)
        ]
        refused = sum(each.refused for each in answered)
        return Round(len(frames) * size - refused, took_s, latencies_ms, *clocks.used_s(), refused)


def _frames(commands: float, size: int) -> int:
    return max(2, round(commands / size))
