"""What every server here promises to the block that opened it: served inside the block, gone after it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

CANCEL_POLL_S = 0.1


def side_by_side(starts: Sequence[Callable[[], None]], *, stop: Callable[[], None]) -> None:
    """Make all the calls at once.  The first failure is raised, and so is Ctrl-C, once `stop` has ended the others."""
    with ThreadPoolExecutor(len(starts)) as pool:
        booting = [pool.submit(start) for start in starts]
        try:
            for ended in wait(booting, return_when=FIRST_EXCEPTION).done:
                ended.result()
        finally:  # a thread cannot be cancelled, so end whatever it starts
            while wait(booting, timeout=CANCEL_POLL_S).not_done:
                stop()


class Owned(ABC):
    """Something to be used as `with server:` or `async with server:`, which does the same off the event loop."""

    @abstractmethod
    def start(self) -> None:
        """Return when it serves.  Raises `Unavailable` or `BadSettings`.  Call it once."""

    @abstractmethod
    def stop(self) -> None:
        """End every process, within two seconds.  Harmless at any moment, and twice."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:  # Ctrl-C too: nothing may be left over
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        booting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            await asyncio.shield(booting)
        except BaseException:
            await self._abandon(booting)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.shield(asyncio.to_thread(self.stop))

    async def _abandon(self, booting: "asyncio.Future[None]") -> None:
        """A thread cannot be cancelled: end whatever it starts until it gives up."""
        while not booting.done():
            self.stop()
            await asyncio.wait({booting}, timeout=CANCEL_POLL_S)
        booting.exception()  # seen: the cancellation is what the caller hears of
        self.stop()
