"""Doing something unless asked to stop first."""

import asyncio
from collections.abc import Coroutine


async def unless(stopping: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do the work unless told to stop first; whether it is done."""
    working, stop = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((working, stop), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        working.result()
        return True
    finally:
        for task in (working, stop):
            task.cancel()
        await asyncio.wait((working, stop))
