"""Writing one topic's archive: what `append` wrote is on the disk, and archived once the topic's end moves there.

What stands behind the end, left there by a writer that was killed, gives way to the first record that is appended, and
not before: the log may no longer have it, should `ends` be an older one than the segments.

Everything here blocks; one thread uses a writer.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from bennu.archive.folder import ENDS, OPEN, Archive, Found, file_name, sync_folder
from bennu.archive.history import History
from bennu.archive.limits import SEGMENT_AGE_S, SEGMENT_BYTES
from bennu.archive.segment import Header, Segment, footer, frames, new_digest
from bennu.errors import BadSettings, RecordBroken
from bennu.log.port import Record
from bennu.ops import folders

LOCK = "lock"


@contextmanager
def held(root: Path) -> Iterator[None]:
    """Be the only one who writes below this folder.  Raises `BadSettings` when somebody else does, or it can't be."""
    folders.make(root, what="archive")
    sync_folder(root.parent)
    with (root / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSettings(f"{root}: another archiver writes here; each needs a folder of its own") from None
        yield


@dataclass(frozen=True)
class Sizes:
    """When a segment is sealed."""

    segment_bytes: int = SEGMENT_BYTES
    segment_age_s: int = SEGMENT_AGE_S


class TopicWriter:
    """Goes on where the archive of the topic ends; `history` is brought to there and kept there."""

    def __init__(self, archive: Archive, topic: str, history: History, *, sizes: Sizes) -> None:
        self.topic = topic
        self.history = history
        self.next_offset = 0
        self.last: bytes | None = None
        """The last record archived; None if there is none."""
        self._archive = archive
        self.folder = archive.root / topic
        self._sizes = sizes
        self._open: _Open | None = None
        self._behind: list[Path] = []
        """Segments that begin behind the end."""
        self._blank = history.carried()

    def open(self, end: int) -> None:
        """Go on at `end`, where the archive of the topic ends; what was written behind it is not looked at.

        Raises `RecordBroken` where something before it is missing or spoilt, `OSError`.
        """
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        sync_folder(self._archive.root)
        self.next_offset, self.last = 0, None
        self.history.resume(self._blank)
        found = self._kept(end)
        if found:
            self._resume(found[-1], end)
        if self.next_offset != end:
            raise RecordBroken(f"{self.folder}: archived up to offset {end}, but there is no segment of it")

    def _kept(self, end: int) -> list[Found]:
        found, self._behind = self._archive.segments(self.topic), []
        for segment in [*found]:
            path = self.folder / file_name(segment.first, OPEN)
            if segment.sealed and segment.first >= end:
                raise RecordBroken(
                    f"{self.folder}: a sealed segment begins at offset {segment.first}, but the archive ends before "
                    f"{end}, says {self._archive.root / ENDS}"
                )
            if not segment.sealed and segment.first >= end:
                self._behind.append(path)
                found.remove(segment)
            elif not segment.sealed and segment is not found[-1]:
                raise RecordBroken(f"{path}: open, but it is not the last")
        return found

    def _resume(self, newest: Found, end: int) -> None:
        with self._archive.opened(self.topic, newest) as segment:
            self.history.resume(segment.header.carried)
            self.next_offset = newest.first
            for record in segment.checked_records(end):
                self._written(record)
            if newest.sealed:
                segment.check_footer()
            else:
                self._open = _Open.again(self.folder / file_name(newest.first, OPEN), segment)

    def _written(self, record: Record) -> None:
        self.history.take(*record)
        self.next_offset, self.last = record.offset + 1, record.body

    def append(self, records: Sequence[Record]) -> None:
        """On the disk when it returns.  Raises `OSError`: then `open` again."""
        assert records[0].offset == self.next_offset, "an archive has no gap"
        if self._open is None:
            self._begin(records[0].offset)
        assert self._open is not None
        self._open.write(frames(records))
        for record in records:
            self._written(record)

    def _begin(self, first: int) -> None:
        while self._behind:
            self._behind.pop().unlink()
        header = Header(self.topic, first, time.time_ns() // 1_000_000, self.history.carried())
        self._open = _Open.new(self.folder / file_name(first, OPEN), header)
        sync_folder(self.folder)

    def seal_if_due(self) -> None:
        """Seal the open segment when it is large or old enough; only when all in it is archived."""
        if self._open is None or self._open.goes_on:
            return
        age_s = time.time() - self._open.made_at_ms / 1000
        if self._open.size >= self._sizes.segment_bytes or age_s >= self._sizes.segment_age_s:
            self._open.write(footer(self.next_offset - self._open.first, self.next_offset, self._open.digest.digest()))
            done, self._open = self._open, None
            done.file.close()
            self._archive.sealed.put(self.topic, done.first, done.path)

    def close(self) -> None:
        """The open segment stays open; harmless twice."""
        if self._open is not None:
            self._open.file.close()
            self._open = None


class _Open:
    """The segment that is being written."""

    def __init__(self, path: Path, file: FileIO, header: Header) -> None:
        self.path = path
        self.file = file
        self.first = header.first
        self.made_at_ms = header.made_at_ms
        self.size = 0
        self.digest = new_digest()
        self.goes_on = False
        """Something stands behind `size`, which the next `write` cuts off."""
        self._before = b""

    @classmethod
    def new(cls, path: Path, header: Header) -> "_Open":
        """An empty one; its header is written with the first records."""
        opened = cls(path, FileIO(path, "x"), header)
        opened._before = header.encode()
        return opened

    @classmethod
    def again(cls, path: Path, segment: Segment) -> "_Open":
        """Go on with one that was read as far as it is archived."""
        done = footer(segment.next_offset - segment.header.first, segment.next_offset, segment.digest.digest())
        with ExitStack() as undo:
            file = undo.enter_context(FileIO(path, "r+"))
            file.seek(segment.size)
            rest = file.read(len(done) + 1)
            file.seek(segment.size)
            undo.pop_all()
        opened = cls(path, file, segment.header)
        opened.size, opened.digest = segment.size, segment.digest
        opened.goes_on = not done.startswith(rest)  # a footer that was begun is no record: it is written again
        return opened

    def write(self, content: bytes) -> None:
        """At the end, and on the disk when it returns.  Raises `OSError`; then the file is to be opened again."""
        self.file.truncate(self.size)
        self.goes_on = False
        content, self._before = self._before + content, b""
        rest = memoryview(content)
        while rest:
            rest = rest[self.file.write(rest) :]
        os.fsync(self.file.fileno())
        self.size += len(content)
        self.digest.update(content)
