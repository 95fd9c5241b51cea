"""A thread of the embedded log: takes calls that block from the event loop, one after the other, and hands them back.

An append waits for each of its hand-offs, so they are as short as they can be: a queue there, one callback back.  An
executor's futures have locks and callbacks of their own: with them, and a timer for each append, the thread began 35 us
later, and a lone call took about 200 us more of the processor.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Call(Generic[T]):
    """What a thread is to do, and `answer`, where the loop waits for what comes of it."""

    __slots__ = ("_begun", "_loop", "_work", "answer")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._begun = Lock()
        self._loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[T] = self._loop.create_future()

    def drop(self) -> bool:
        """Whether it was not begun; then it never is."""
        return self._begun.acquire(blocking=False)

    def run(self) -> None:
        """In the thread."""
        if not self._begun.acquire(blocking=False):
            return
        work = self._work
        del self._work  # its record: a failure and its traceback keep this object for a while
        try:
            found = work()
        except BaseException as error:  # whatever it is, who waits for it is to have it
            self._hand_back(partial(self._failed, error))
        else:
            self._hand_back(partial(self._succeeded, found))

    def _hand_back(self, take: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(take)

    def _succeeded(self, found: T) -> None:
        if not self.answer.done():
            self.answer.set_result(found)

    def _failed(self, error: BaseException) -> None:
        if not self.answer.done():
            # A future takes any but this one.
            self.answer.set_exception(RuntimeError("it ended early") if isinstance(error, StopIteration) else error)


class CallThread:
    """Begins with its first call, and ends after `end`, which is to be called."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line: SimpleQueue[Call[object] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._ended = False

    def begin(self, work: Callable[[], T]) -> Call[T]:
        """Put it in line.  Raises `RuntimeError` after `end`, and where no thread can be started now."""
        if self._ended:
            raise RuntimeError(f"{self._name} has ended")
        call = Call(work)
        if self._thread is None:
            # As a daemon: one that is stuck in the disk must not keep the process from ending.
            thread = Thread(target=self._serve, name=self._name, daemon=True)
            thread.start()
            self._thread = thread
        self._line.put(call)  # type: ignore[arg-type]  # a thread does not look at what is found
        return call

    async def run(self, work: Callable[[], T]) -> T:
        """What comes of it.  Who is cancelled before it was begun takes it out of the line."""
        call = self.begin(work)
        try:
            return await call.answer
        except asyncio.CancelledError:
            call.drop()
            raise

    def end(self) -> None:
        """Once all is done that is in line."""
        self._ended = True
        self._line.put(None)

    def _serve(self) -> None:
        while (call := self._line.get()) is not None:
            call.run()
            del call  # not to be kept until the next one comes


class Overdue:
    """Ends what has waited for too long with `TimeoutError`: one timer for all that wait, in one event loop.

    A timer for each cost an append 15 us, most of it in the event loop: it is made, taken back and closed.
    """

    def __init__(self) -> None:
        self._until_s: dict[asyncio.Future[int], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, waiting: asyncio.Future[int], patience_s: float) -> None:
        """Until `forget` is called."""
        loop = asyncio.get_running_loop()
        until_s = self._until_s[waiting] = loop.time() + patience_s
        if self._timer is not None and until_s < self._timer.when():
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = loop.call_at(until_s, self._look)

    def forget(self, waiting: asyncio.Future[int]) -> None:
        """It waits no longer."""
        del self._until_s[waiting]

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now_s, self._timer = loop.time(), None
        for waiting, until_s in self._until_s.items():
            if until_s <= now_s and not waiting.done():
                waiting.set_exception(TimeoutError())
        left = [until_s for waiting, until_s in self._until_s.items() if not waiting.done()]
        if left:
            self._timer = loop.call_at(min(left), self._look)
