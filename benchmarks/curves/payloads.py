"""Larger commands: how many a second, and how many bytes."""

import time
from collections.abc import Sequence

from benchmarks.curves import notes
from benchmarks.curves.notes_messages import Write
from benchmarks.curves.servers import IN_FLIGHT, WARM_S, Kind, Row, Site, client, cservers, percentiles, run_name
from benchmarks.stream import Answered
from bennu.v1.stream_pb2 import CommandFrame
from bennu.wire.commands import command_batch

NOTES = Kind("benchmarks.curves.notes:app", notes.app)
NAMES = [f"note-{number:03}" for number in range(100)]
FRAME_COMMANDS = 100
FRAME_BYTES = 1024 * 1024
"""Of large commands a frame has fewer."""
IN_FLIGHT_BYTES = 16 * 1024 * 1024
"""A server refuses what it has no room for."""
FIRST_GUESS_BYTES = 10_000_000
FIRST_GUESS = 10_000
"""A second, before anything was measured: the less of the two."""


async def curve(site: Site, sizes: Sequence[int], seconds: float) -> list[Row]:
    """A row for each number of bytes in the text of a note, each written to one of a hundred notes."""
    return [await _row(site, size, seconds) for size in sizes]


async def _row(site: Site, size: int, seconds: float) -> Row:
    commands = max(1, min(FRAME_COMMANDS, FRAME_BYTES // size))
    in_flight = max(2, min(IN_FLIGHT, IN_FLIGHT_BYTES // (commands * size)))
    per_second, answered = min(FIRST_GUESS, FIRST_GUESS_BYTES / size), list[Answered]()
    with site.at() as ground, cservers(ground, kind=NOTES) as (leader,):
        async with client(leader) as to:
            for last_s in (WARM_S, seconds):
                frames = writing_frames(size, commands, max(2, round(per_second * last_s / commands)))
                began_s = time.perf_counter()
                answered = await to.send(frames, in_flight=in_flight)
                per_second = len(frames) * commands / (time.perf_counter() - began_s)
    took = percentiles([each.took_ms for each in answered])
    megabytes = round(per_second * size / 1e6, 2)
    return {"bytes": size, "commands_per_second": round(per_second), "megabytes_per_second": megabytes} | took


def writing_frames(size: int, commands: int, count: int) -> list[bytes]:
    """So many frames of so many commands that write a text of `size` bytes; no two texts in a row are the same."""
    run, found = run_name(), []
    for number in range(count):
        batch = command_batch(
            (f"{run}-{number}-{index}", "notes.v1.Write", _payload(number * commands + index, size))
            for index in range(commands)
        )
        found.append(CommandFrame(frame_id=number, commands=batch).SerializeToString())
    return found


def _payload(number: int, size: int) -> bytes:
    text = f"{number:>12}".ljust(size, "x")[:size]
    return Write(note=NAMES[number % len(NAMES)], text=text).SerializeToString()
