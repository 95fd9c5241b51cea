"""An asyncio event loop whose time jumps to the next timer when nothing is ready: hours pass in milliseconds.

No threads and no sockets, and callbacks run in an order that depends on nothing but the program, so a run repeats
exactly.  A callback belongs to the `Owner` in whose context it was scheduled; the callbacks of a paused owner are
kept back, as those of a stopped process are, until it goes on.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Coroutine, Generator
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from bennu.errors import BennuError

T = TypeVar("T")


class Deadlock(BennuError):
    """Nothing is ready, no timer runs, and the main task has not ended."""


@dataclass(eq=False)
class Owner:
    """A process, as far as the loop knows: whether its callbacks run."""

    name: str
    paused: bool = False
    held: deque[asyncio.Handle] = field(default_factory=deque)


OWNER: ContextVar[Owner | None] = ContextVar("OWNER", default=None)


class NumberedTask(asyncio.Task[Any]):
    """A task that is hashed by its number, not its address, so that the sets of tasks that asyncio keeps repeat."""

    def __init__(self, number: int, work: Any, **given: Any) -> None:  # noqa: ANN401 - what asyncio gives to a task
        self._number = number  # first, as asyncio puts a task into a set while it makes it
        super().__init__(work, **given)

    def __hash__(self) -> int:
        return self._number


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """See the module.  Made for `run`; `advance_s` bounds the virtual time of a run."""

    # What BaseEventLoop keeps and its stubs don't show.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, *, advance_s: float = 100 * 24 * 3600) -> None:
        super().__init__()
        self._now_s = 0.0
        self._end_s = advance_s
        self._numbers = count()
        self.set_task_factory(self._new_task)

    def _new_task(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T] | Generator[Any, None, T],
        **given: Any,  # noqa: ANN401 - asyncio's own keywords
    ) -> asyncio.Task[T]:
        return NumberedTask(next(self._numbers), work, loop=loop, **given)

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        """BaseEventLoop's turn, without a selector."""
        if not self._ready:
            self._jump()
        while self._scheduled and self._scheduled[0].when() <= self._now_s:
            self._ready.append(heapq.heappop(self._scheduled))
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle.cancelled():
                continue
            owner = handle._context.get(OWNER)  # type: ignore[attr-defined]  # an asyncio.Handle has it
            if owner is not None and owner.paused:
                owner.held.append(handle)
            else:
                handle._run()

    def _jump(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)
        if not self._scheduled:
            raise Deadlock(f"at {self._now_s:.6f} s nothing is ready and no timer runs: the test waits for ever")
        self._now_s = max(self._now_s, self._scheduled[0].when())
        if self._now_s > self._end_s:
            raise Deadlock(f"the test still runs after {self._end_s:.0f} s of virtual time")

    def resume(self, owner: Owner) -> None:
        """Let a paused owner go on, with all that came up meanwhile in its order."""
        owner.paused = False
        self._ready.extend(owner.held)
        owner.held.clear()

    # What BaseEventLoop asks of a loop that has a selector.

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is dropped when its time comes."""

    def _write_to_self(self) -> None:
        raise AssertionError("no other thread may touch a loop with virtual time")

    def _process_events(self, event_list: object) -> None:
        raise AssertionError("there is nothing to select")


def run(main: Coroutine[Any, Any, T], *, advance_s: float = 100 * 24 * 3600) -> T:
    """Run to its end under virtual time; raises `Deadlock` where real time would pass for ever."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(advance_s=advance_s)) as runner:
        return runner.run(main, context=Context())
