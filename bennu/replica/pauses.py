"""Long work on the one event loop goes in slices; this is what comes between two of them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from bennu.limits import (
    CALM_FOR_US,
    FEW_APPENDS,
    GATHER_LONGER_MS,
    GATHER_MS,
    GATHER_STEP_MS,
    GATHER_TURNS,
    IDLE_TURN_US,
    KNOWN_SLICERS,
    LEFT_TO_OTHERS,
    LONE_SLICE,
    REST_US,
    TURNS_BETWEEN_SLICES,
)


def loop_us() -> int:
    """The loop's own time: exact where it is virtual, and coarse elsewhere."""
    return int(asyncio.get_running_loop().time() * 1_000_000)


class Pauses:
    """One process's, over all its partitions and streams: between two turns of its loop it does one slice at most.

    A call goes through a dozen turns, each of which follows from the one before, and waited for a slice in most of them
    when slices came at fixed distances.  So a slice comes after a turn in which nobody had anything to do, or after
    `TURNS_BETWEEN_SLICES`, and those who do slices come one after the other.

    And while somebody is served who does without slices, those who need them leave a share of the time: a loop that is
    never idle makes each step of a call wait, and its threads for the interpreter.  Where all need them nobody rests:
    who sends several commands at once is no calm caller, and who sends one to a busy partition can't be one.
    """

    def __init__(self, now_us: Callable[[], int] = loop_us) -> None:
        self._now_us = now_us
        self._line = asyncio.Lock()
        self._gathering = asyncio.Lock()
        self._appending: set[asyncio.Task[None]] = set()
        self._fewer = asyncio.Event()
        """Set when one of those is done."""
        self._sliced_us: dict[str, int] = {}
        """When each of those who do slices, or have them done, last did: partitions and clients."""
        self._calm_us = -CALM_FOR_US
        """When work last came for somebody who does none."""
        self._since_us = 0
        """When the slice began that is being done; 0: none is."""
        self._owed_us = 0

    def arrived(self, commands: int, *who: str) -> None:
        """So many came in for a partition, of a client; either may be one that needs slices."""
        if commands > 1:
            return
        now_us = self._now_us()
        if all(now_us - self._sliced_us.get(each, -CALM_FOR_US) >= CALM_FOR_US for each in who):
            self._calm_us = now_us

    def needs_slices(self, who: str) -> None:
        """A client sent several commands at once."""
        now_us = self._sliced_us[who] = self._now_us()
        if len(self._sliced_us) > KNOWN_SLICERS:
            lately = now_us - CALM_FOR_US
            self._sliced_us = {each: at_us for each, at_us in self._sliced_us.items() if at_us > lately}

    def slice_of(self, commands: int) -> int:
        """How many a slice may be of: `commands`, and more while nobody is served who does without."""
        return commands if self._serves_calm() else commands * LONE_SLICE

    def _serves_calm(self) -> bool:
        """Whether work came lately for somebody who does without slices."""
        return self._now_us() - self._calm_us < CALM_FOR_US

    async def pause(self, who: str = "") -> None:
        """Return when the next slice may be done, which is to be done before anything else is awaited."""
        async with self._line:
            self._end_slice()
            await self._rest()
            await self._idle_turn(TURNS_BETWEEN_SLICES)
            self._since_us = self._sliced_us[who] = self._now_us()
            asyncio.get_running_loop().call_soon(self._end_slice)

    def append(self, task: asyncio.Task[None]) -> None:
        """A batch is on its way to the log until this is done."""
        self._appending.add(task)
        task.add_done_callback(self._appended)

    def _appended(self, task: asyncio.Task[None]) -> None:
        self._appending.discard(task)
        self._fewer.set()

    @property
    def gathering(self) -> bool:
        """Whether somebody gathers now: few commands come to each of several partitions."""
        return self._gathering.locked()

    async def gather(self, *, few: bool) -> bool:
        """True after a turn in which nobody had anything to do; or, in a busy loop, when others had some time.

        Commands of single calls come one by one: each goes through several turns of the loop before it is in line.
        Those who gather do it one after the other, and go on once few batches are on their way: in a busy loop each
        append takes away time from all, and who waits for others' has more commands in its own.

        A batch that has not `few` commands waits for turns only, and only where no other partition is busy and nobody
        calm is served: else False, at once.  A busy stream carries 16 % more, for each append does.
        """
        if not few:
            if self.gathering or self._serves_calm() or not all(task.done() for task in self._appending):
                return False
            await self._idle_turn(GATHER_TURNS)
            return True
        others = self.gathering or len(self._appending) >= FEW_APPENDS
        async with self._gathering:
            if others:
                await self._until_few_appends()
            elif not await self._idle_turn(GATHER_TURNS):
                await asyncio.sleep(GATHER_MS / 1000)
                await self._until_idle()
        return True

    async def _until_idle(self) -> None:
        """Or for so long.  After two idle turns: a single one may come between two steps of a call."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_LONGER_MS / 1000):
                while True:
                    if await self._idle_turn(1) and await self._idle_turn(1):
                        return
                    await asyncio.sleep(GATHER_STEP_MS / 1000)

    async def _until_few_appends(self) -> None:
        """Or an idle turn, or for so long: their log may be away."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_MS / 1000):
                while True:
                    self._fewer.clear()
                    if len(self._appending) < FEW_APPENDS or await self._idle_turn(1):
                        return
                    await self._fewer.wait()

    def _end_slice(self) -> None:
        """It took until its task awaits something, and what it took is owed to others."""
        if self._since_us:
            self._owed_us += int((self._now_us() - self._since_us) * LEFT_TO_OTHERS)
            self._since_us = 0

    async def _rest(self) -> None:
        """Pay what is owed, while there are any others; once it is worth a timer, and by all in line: if one worked
        while another rests, the loop would be as busy as ever.
        """
        if not self._serves_calm():
            self._owed_us = 0
        elif self._owed_us >= REST_US:
            await asyncio.sleep(self._owed_us / 1_000_000)
            self._owed_us = 0

    async def _idle_turn(self, turns: int) -> bool:
        """Whether one came among so many."""
        for _ in range(turns):
            began_us = self._now_us()
            await asyncio.sleep(0)
            if self._now_us() - began_us <= IDLE_TURN_US:
                return True
        return False
