"""Telling all who wait just now that something has changed."""

import asyncio


class Pulse:
    """Whoever waits hears the next beat, and none that came before."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def beat(self) -> None:
        """Wake all who wait."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self) -> None:
        """Until the next beat."""
        await self._next.wait()
