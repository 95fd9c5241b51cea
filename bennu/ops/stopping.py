"""Doing something unless something else happens first, such as that we are asked to stop."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def unless(stopping: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do the work unless told to stop first; whether it is done."""
    return await before(stopping.wait(), work)


async def before(end: Coroutine[Any, Any, object], work: Coroutine[None, None, None]) -> bool:
    """Do the work unless `end` comes first; whether it is done."""
    working, stop = asyncio.create_task(work), asyncio.create_task(end)
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
