"""An archive in a directory: one folder a topic, in it the segments, named after their first offset.

    DIR/bank-events-0/00000000000000000000.segment      sealed: whole, for ever
    DIR/bank-events-0/00000000000000008412.open         being written; at most one, and the last

Sealed segments are behind a small port, so that an object store may keep them instead; the open one is always a file.
Everything here blocks.
"""

import os
from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from bennu.archive.limits import CHUNK_BYTES, CHUNK_RECORDS
from bennu.archive.segment import Segment, Torn
from bennu.errors import RecordBroken
from bennu.log.port import Record

SEALED, OPEN = ".segment", ".open"


class SealedSegments(Protocol):
    """Keeps whole segments."""

    def topics(self) -> Sequence[str]:
        """Those that have a place here."""

    def firsts(self, topic: str) -> Sequence[int]:
        """First offsets of the topic's sealed segments."""

    def where(self, topic: str, first: int) -> str:
        """The name of one, for people."""

    def open(self, topic: str, first: int) -> BinaryIO:
        """One of them, to be read.  Raises `FileNotFoundError`."""

    def put(self, topic: str, first: int, file: Path) -> None:
        """Keep a file that is whole and synced: durable when it returns, and the file is gone then."""


class SealedFiles:
    """Sealed segments beside the open ones."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def topics(self) -> Sequence[str]:
        return sorted(path.name for path in self._root.iterdir() if path.is_dir()) if self._root.is_dir() else []

    def firsts(self, topic: str) -> Sequence[int]:
        return firsts_in(self._root / topic, SEALED)

    def where(self, topic: str, first: int) -> str:
        return str(self._path(topic, first))

    def open(self, topic: str, first: int) -> BinaryIO:
        return self._path(topic, first).open("rb")

    def put(self, topic: str, first: int, file: Path) -> None:
        file.rename(self._path(topic, first))
        sync_folder(file.parent)

    def _path(self, topic: str, first: int) -> Path:
        return self._root / topic / file_name(first, SEALED)


class Found(NamedTuple):
    """A segment that is there."""

    first: int
    sealed: bool


class Archive:
    """What is archived, for readers; another process may be writing."""

    def __init__(self, root: Path, sealed: SealedSegments | None = None) -> None:
        self.root = root
        self.sealed = sealed or SealedFiles(root)

    def topics(self) -> Sequence[str]:
        """Those with at least one record."""
        return [topic for topic in self.sealed.topics() if self.bounds(topic) is not None]

    def segments(self, topic: str) -> list[Found]:
        """In order."""
        opened = firsts_in(self.root / topic, OPEN)  # first: one that is sealed meanwhile is seen twice, not never
        found = {first: Found(first, sealed=False) for first in opened}
        found |= {first: Found(first, sealed=True) for first in self.sealed.firsts(topic)}
        return [found[first] for first in sorted(found)]

    def bounds(self, topic: str) -> tuple[int, int] | None:
        """(first offset archived, next to be archived); None without a record.  Raises `RecordBroken`."""
        found = self.segments(topic)
        for last in reversed(found):
            with self.opened(topic, last) as segment:
                if segment is not None and (end := segment.find_end()) > found[0].first:
                    return found[0].first, end
        return None

    def read(self, topic: str, start: int) -> Generator[list[Record], None, None]:
        """Chunks of contiguous records from `start`, which must be archived, to the end there is.

        Raises `RecordBroken` for what can't be trusted, and for a segment that is missing.
        """
        found = self.segments(topic)
        at = bisect_right([segment.first for segment in found], start) - 1
        assert at >= 0, "whoever reads looks at the bounds first"
        for here, after in pairwise([*found[at:], None]):
            assert here is not None
            with self.opened(topic, here) as segment:
                if segment is None:
                    return
                yield from _chunks(segment.records(start))
                self._check_joint(topic, segment, after=after)

    def _check_joint(self, topic: str, segment: Segment, *, after: Found | None) -> None:
        if after is not None and after.first != segment.next_offset:
            raise RecordBroken(
                f"{segment.where}, offset {segment.next_offset}: the archive of {topic} goes on at offset "
                f"{after.first}; a segment between them is missing or cut off"
            )

    @contextmanager
    def opened(self, topic: str, found: Found) -> Iterator[Segment | None]:
        """One segment; None if it is open and nothing of it has come to the disk."""
        file, where, sealed = self._open(topic, found)
        with file:
            try:
                segment = Segment(file, where, sealed=sealed)
            except Torn:
                segment = None
            if segment is not None and segment.header[:2] != (topic, found.first):
                raise RecordBroken(f"{where}: is a segment of {segment.header.topic} from {segment.header.first} on")
            yield segment

    def _open(self, topic: str, found: Found) -> tuple[BinaryIO, str, bool]:
        if not found.sealed:
            path = self.root / topic / file_name(found.first, OPEN)
            try:
                return path.open("rb"), str(path), False
            except FileNotFoundError:
                pass  # sealed meanwhile
        return self.sealed.open(topic, found.first), self.sealed.where(topic, found.first), True


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    size = 0
    for record in records:
        chunk.append(record)
        size += len(record.body)
        if len(chunk) >= CHUNK_RECORDS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def file_name(first: int, suffix: str) -> str:
    """Names sort as offsets do."""
    return f"{first:020}{suffix}"


def firsts_in(folder: Path, suffix: str) -> list[int]:
    """First offsets of the segments of this kind."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.stem) for path in paths if path.suffix == suffix and path.stem.isdigit())


def sync_folder(folder: Path) -> None:
    """Make names in it durable: those of new files, and renames."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
