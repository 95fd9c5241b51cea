"""State as slices of bytes: what snapshots are made of, each slice little work for the loop that other things wait for.

A slice is a msgpack array of items, each encoded by itself; so its size is known while it is made, and a reader
decodes all of it in one pass in C.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from bennu.errors import BennuError

SLICE_BYTES = 64 * 1024
"""A slice is closed at this size: a million small states take about 0.3 ms of work a slice, to make or to load."""

encode = msgspec.msgpack.Encoder().encode

Load = Callable[[bytes], None]
"""Takes a slice.  Raises `Unfit`, `ValueError`, or what msgspec raises: then its state is to be dropped."""


class Form(NamedTuple):
    """What the states of a kind looked like when they were stored."""

    version: int
    digest: bytes
    """Of the names and types of fields: states of one version that differ in it were changed without a new version."""


class Unfit(BennuError):
    """What is stored can't be loaded here, and the message says why."""


def sliced(items: Iterable[bytes]) -> Iterator[bytes]:
    """Encoded items, together, in order; nothing when there is none."""
    held: list[bytes] = []
    size = 0
    for item in items:
        held.append(item)
        size += len(item)
        if size >= SLICE_BYTES:
            yield _array(held)
            held, size = [], 0
    if held:
        yield _array(held)


def _array(items: list[bytes]) -> bytes:
    return b"\xdd" + len(items).to_bytes(4, "big") + b"".join(items)  # msgpack's `array 32`
