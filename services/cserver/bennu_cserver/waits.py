"""Those who wait for an answer all wait equally long: one timer is enough for all of them."""

import asyncio
from collections import deque

GAVE_UP = -1


class Waits:
    """Futures of a batch's number, in the order in which they were begun.

    A timer for each cost a call 15 us, most of it in the event loop: it is made, taken back and closed.
    """

    def __init__(self, patience_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._patience_s = patience_s
        self._line: deque[tuple[float, asyncio.Future[int]]] = deque()
        """Until when each waits.  What is done stays only behind one that waits longer than it."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._line)

    def begin(self) -> asyncio.Future[int]:
        """One that is `GAVE_UP` when nobody has set it after so long."""
        self._forget_done()
        waiting: asyncio.Future[int] = self._loop.create_future()
        self._line.append((self._loop.time() + self._patience_s, waiting))
        if self._timer is None:
            self._timer = self._loop.call_at(self._line[0][0], self._look)
        return waiting

    def _forget_done(self) -> None:
        while self._line and self._line[0][1].done():
            self._line.popleft()

    def _look(self) -> None:
        now_s = self._loop.time()
        while self._line and self._line[0][0] <= now_s:
            waiting = self._line.popleft()[1]
            if not waiting.done():
                waiting.set_result(GAVE_UP)
        self._forget_done()
        self._timer = self._loop.call_at(self._line[0][0], self._look) if self._line else None
