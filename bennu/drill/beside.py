"""Work, and what has to go on beside it."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


async def beside(work: Coroutine[None, None, T], *others: Coroutine[None, None, None]) -> T:
    """The result of `work`.  The others have no end; one that fails ends the work, and its failure is raised."""
    main = asyncio.ensure_future(work)
    rest = [asyncio.ensure_future(other) for other in others]
    try:
        await asyncio.wait((*rest, main), return_when=asyncio.FIRST_COMPLETED)
        for other in rest:
            if other.done():
                other.result()
        return await main
    finally:
        for task in (main, *rest):
            task.cancel()
        await asyncio.gather(main, *rest, return_exceptions=True)
