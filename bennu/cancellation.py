"""Whether the current task was told to end, where the error that came up doesn't say so."""

import asyncio


def is_cancelled() -> bool:
    """Also while another error has taken the place of the `CancelledError`, and where one came of something else."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
