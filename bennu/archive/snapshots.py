"""Snapshots beside the archive, so that a restored journal need not be replayed from its start.

    DIR/snapshots/bank-events-0/00000000000000008412-5f0c….snapshot    named after its offset and its digest

A file holds the header and then the chunks, each with its length before it; header and chunks have their digests in
the header.  Snapshots are a cache: what is missing or too new here costs time, and no record.
"""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from bennu.archive.folder import Archive, put_file, sync_folder
from bennu.errors import RecordBroken
from bennu.replica.slices import Unfit
from bennu.snapshots.format import Draft, Header, decode_header, digest_of
from bennu.snapshots.store import SnapshotStore, Stored

FOLDER, SUFFIX = "snapshots", ".snapshot"
LENGTH_BYTES = 4


class Moved(NamedTuple):
    """What became of a snapshot."""

    topic: str
    offset: int
    """Of the first record that is not in it."""
    passed_over: str = ""
    """Why it was left where it is; empty: it was not."""


async def keep(store: SnapshotStore, archive: Archive) -> list[Moved]:
    """Copy those that are in Postgres and not here.  Raises what the store raises, and `OSError`."""
    return [await _keep(store, archive.root / FOLDER, stored) for stored in await store.find()]


async def _keep(store: SnapshotStore, root: Path, stored: Stored) -> Moved:
    try:
        header = decode_header(stored.header)
    except Unfit as reason:
        return Moved(stored.topic, 0, str(reason))
    offset = header.position.offset
    path = root / header.topic / f"{offset:020}-{header.digest.hex()}{SUFFIX}"
    if path.exists():
        return Moved(header.topic, offset, "it is here already")
    async with aclosing(store.chunks(stored)) as chunks:
        body = [chunk async for chunk in chunks]
    if [digest_of(chunk) for chunk in body] != header.chunks:
        return Moved(header.topic, offset, "its chunks are not those that its header names")
    await asyncio.to_thread(_write, path, [stored.header, *body])
    return Moved(header.topic, offset)


def _write(path: Path, parts: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    put_file(path, (len(part).to_bytes(LENGTH_BYTES, "big") + part for part in parts))
    for folder in (path.parent.parent, path.parent.parent.parent):
        sync_folder(folder)


async def put_back(store: SnapshotStore, archive: Archive) -> list[Moved]:
    """Write those that the archive leads up to into Postgres.  Raises `RecordBroken`, and what the store raises."""
    ends = archive.ends()
    there = {stored.header for stored in await store.find()}
    moved: list[Moved] = []
    for path in sorted((archive.root / FOLDER).glob(f"*/*{SUFFIX}")):
        kept = await asyncio.to_thread(Kept, path)
        offset, end = kept.header().position.offset, ends.get(kept.topic, 0)
        if kept.raw_header in there:
            moved.append(Moved(kept.topic, offset, "it is there already"))
        elif offset > end:
            moved.append(Moved(kept.topic, offset, f"the archive ends before {end}"))
        else:
            await store.write(kept)
            await store.forget(kept.topic)
            moved.append(Moved(kept.topic, offset))
    return moved


class Kept(Draft):
    """A snapshot that was taken before and is written again."""

    def __init__(self, path: Path) -> None:
        """Raises `RecordBroken`, naming the file."""
        self._path = path
        parts = list(self._parts(path.read_bytes()))
        if not parts:
            raise RecordBroken(f"{path}: nothing stands in it")
        self.raw_header, self._body = parts[0], parts[1:]
        try:
            self._header = decode_header(self.raw_header)
        except Unfit as reason:
            raise RecordBroken(f"{path}: {reason}") from reason
        if [digest_of(chunk) for chunk in self._body] != self._header.chunks:
            raise RecordBroken(f"{path}: its chunks are not those that its header names")
        self.topic = self._header.topic

    def _parts(self, content: bytes) -> Iterator[bytes]:
        at = 0
        while at < len(content):
            start = at + LENGTH_BYTES
            at = start + int.from_bytes(content[at:start], "big")
            if at > len(content):
                raise RecordBroken(f"{self._path}: the file ends within a part")
            yield content[start:at]

    def chunks(self) -> Iterator[bytes | None]:
        yield from self._body

    def header(self) -> Header:
        return self._header
