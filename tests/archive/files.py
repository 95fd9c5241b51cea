"""Archives for tests: plain records, written as an archiver would."""

from collections.abc import Iterable
from pathlib import Path

from bennu.archive.folder import Archive
from bennu.archive.history import CommandsHistory
from bennu.archive.writer import Sizes, TopicWriter
from bennu.log.port import Record

TOPIC = "bank-commands-0"
"""Of a kind to which anybody may write anything."""


def record(offset: int) -> Record:
    """The record that stands at this offset, everywhere in these tests."""
    return Record(offset, b"record %d" % offset)


def records(start: int, end: int) -> list[Record]:
    """Those from `start` to before `end`."""
    return [record(offset) for offset in range(start, end)]


def writer(root: Path, *, segment_bytes: int = 1 << 20, topic: str = TOPIC) -> TopicWriter:
    """One that has read what is there."""
    found = TopicWriter(Archive(root), topic, CommandsHistory(topic), sizes=Sizes(segment_bytes))
    found.open(Archive(root).ends().get(topic, 0))
    return found


def archive(root: Path, chunks: Iterable[list[Record]], *, segment_bytes: int = 1 << 20, topic: str = TOPIC) -> Archive:
    """An archive of these records; each chunk is written at once."""
    found = Archive(root)
    root.mkdir(parents=True, exist_ok=True)
    found.write_ends(found.ends())
    one = writer(root, segment_bytes=segment_bytes, topic=topic)
    for chunk in chunks:
        one.seal_if_due()
        one.append(chunk)
    one.close()
    found.write_ends(found.ends() | {topic: one.next_offset})
    return found


def all_of(archive: Archive, start: int, *, topic: str = TOPIC) -> list[Record]:
    """What a reader gets from `start` on."""
    return [record for chunk in archive.read(topic, start) for record in chunk]


def segment_file(root: Path, suffix: str) -> Path:
    """The only one of its kind."""
    (path,) = (root / TOPIC).glob(f"*{suffix}")
    return path
