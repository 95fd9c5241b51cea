"""An archive in a directory: one folder a topic, in it the segments, named after their first offset.

    DIR/bank-events-0/00000000000000000000.segment      sealed: whole, for ever
    DIR/bank-events-0/00000000000000008412.open         being written; at most one, and the last
    DIR/ends                                            where the archive of each topic ends

What stands behind a topic's end is not archived yet.  The ends of all topics move in one step, so that the archive is
at each moment one that could be restored: see `history.py`.  `ends` is written before the first segment: one that is
missing beside segments is lost, and nobody takes that for an archive of nothing.

Sealed segments are behind a small port, so that an object store may keep them instead; the open one is always a file.
Everything here blocks.
"""

import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from bennu.archive.limits import CHUNK_BYTES, CHUNK_RECORDS
from bennu.archive.segment import Segment
from bennu.errors import RecordBroken
from bennu.log.port import Record

SEALED, OPEN, ENDS = ".segment", ".open", "ends"


class SealedSegments(Protocol):
    """Keeps whole segments."""

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

    def ends(self) -> dict[str, int]:
        """By topic, the offset after the last record archived.  Raises `RecordBroken`, also where the file was lost."""
        path = self.root / ENDS
        try:
            ends, digest = msgspec.json.decode(path.read_bytes(), type=tuple[dict[str, int], str])
        except FileNotFoundError:
            self._require_no_segments()
            return {}
        except (ValueError, IsADirectoryError) as error:
            raise RecordBroken(f"{path}: not what an archiver writes: {error}") from error
        if digest != _digest(ends):
            raise RecordBroken(f"{path}: the digest is not that of the ends")
        return ends

    def _require_no_segments(self) -> None:
        folders = sorted(self.root.iterdir()) if self.root.is_dir() else ()
        if with_segments := [folder.name for folder in folders if self.segments(folder.name)]:
            raise RecordBroken(
                f"{self.root / ENDS} is lost, but there are segments of {', '.join(with_segments)}: it says how far "
                "each topic is archived, so nothing is read or written without it; put it back from a copy of this "
                "folder, or keep the folder as it is and archive to a new one"
            )

    def write_ends(self, ends: Mapping[str, int]) -> None:
        """In one step; durable when it returns."""
        put_file(self.root / ENDS, [json.dumps([ends, _digest(ends)]).encode()])

    def topics(self) -> Sequence[str]:
        """Those with at least one record."""
        return [topic for topic, end in sorted(self.ends().items()) if end]

    def segments(self, topic: str) -> list[Found]:
        """In order; the last ones may lie behind the topic's end."""
        opened = firsts_in(self.root / topic, OPEN)  # first: one that is sealed meanwhile is seen twice, not never
        found = {first: Found(first, sealed=False) for first in opened}
        found |= {first: Found(first, sealed=True) for first in self.sealed.firsts(topic)}
        return [found[first] for first in sorted(found)]

    def bounds(self, topic: str) -> tuple[int, int] | None:
        """(first offset archived, next to be archived); None without a record.  Raises `RecordBroken`."""
        end = self.ends().get(topic, 0)
        found = self.segments(topic)
        return (found[0].first, end) if found and found[0].first < end else None

    def read(self, topic: str, start: int) -> Generator[list[Record], None, None]:
        """Chunks of contiguous records from `start`, which must be archived, to the end.

        Raises `RecordBroken` for what can't be trusted, and for a segment that is missing.
        """
        for here, end in self.spans(topic, start):
            with self.opened(topic, here) as segment:
                yield from _chunks(segment.records(start, end))

    def spans(self, topic: str, start: int = 0) -> list[tuple[Found, int]]:
        """The segments from the one that holds `start` on, each with the offset before which it must end."""
        end = self.ends().get(topic, 0)
        found = [segment for segment in self.segments(topic) if segment.first < end]
        ends = [*(segment.first for segment in found[1:]), end]
        at = max(0, bisect_right([segment.first for segment in found], start) - 1)
        return list(zip(found, ends, strict=False))[at:]

    @contextmanager
    def opened(self, topic: str, found: Found) -> Iterator[Segment]:
        """One segment."""
        file, where = self._open(topic, found)
        with file:
            segment = Segment(file, where)
            if segment.header[:2] != (topic, found.first):
                raise RecordBroken(f"{where}: is a segment of {segment.header.topic} from {segment.header.first} on")
            yield segment

    def _open(self, topic: str, found: Found) -> tuple[BinaryIO, str]:
        if not found.sealed:
            path = self.root / topic / file_name(found.first, OPEN)
            try:
                return path.open("rb"), str(path)
            except FileNotFoundError:
                pass  # sealed meanwhile
        return self.sealed.open(topic, found.first), self.sealed.where(topic, found.first)


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


def _digest(ends: Mapping[str, int]) -> str:
    return hashlib.blake2b(json.dumps(ends, sort_keys=True).encode(), digest_size=16).hexdigest()


def file_name(first: int, suffix: str) -> str:
    """Names sort as offsets do."""
    return f"{first:020}{suffix}"


def firsts_in(folder: Path, suffix: str) -> list[int]:
    """First offsets of the segments of this kind; files with other names than ours are a stranger's."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(int(path.stem) for path in paths if _is_ours(path.name, suffix) and path.is_file())


def _is_ours(name: str, suffix: str) -> bool:
    digits = name.removesuffix(suffix)
    return digits.isascii() and digits.isdecimal() and name == file_name(int(digits), suffix)


def put_file(path: Path, parts: Iterable[bytes]) -> None:
    """Write it whole, in place of any that is there: durable when it returns, and never half there."""
    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names in it durable: those of new files, and renames."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
