"""What every server here promises to the block that opened it: served inside the block, gone after it."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

CANCEL_POLL_S = 0.1


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
