"""One topic of the embedded log: an SQLite file, as one thread uses it.  Everything here blocks.

Around each step of a statement the thread lets go of the interpreter and must get it back, which takes milliseconds
while the event loop is busy.  So an append is one statement, without BEGIN and COMMIT.

Durability is SQLite's: WAL with `synchronous=FULL` flushes the write-ahead log in each commit.  SQLite checks no
content, so each record carries a CRC-32 of its own.
"""

import os
import sqlite3
import time
import zlib
from pathlib import Path

from bennu.errors import (
    AppendRefused,
    AppendUnknown,
    OffsetBeyondTail,
    OffsetGone,
    RecordBroken,
    TopicMissing,
    Unavailable,
)
from bennu.log.limits import BOUNDS_TIMEOUT_MS, CHUNK_BYTES, CHUNK_RECORDS
from bennu.log.port import Record

# Measured: large pages cost small records nothing and make large ones a third faster; a write-ahead log that is reused
# early spares the file system the growth of a file in each commit.
_PAGE_BYTES = 16_384
_CHECKPOINT_BYTES = 4 * 1024 * 1024
_WAL_KEPT_BYTES = 64 * 1024 * 1024
_TABLE = "CREATE TABLE IF NOT EXISTS record (offset INTEGER PRIMARY KEY, crc INTEGER NOT NULL, body BLOB NOT NULL)"
_BUSY_STEP_MS = 100
"""By how much shorter a write may wait for other processes' than its deadline allows: setting it costs a statement."""
# What SQLite says before it has written a commit's last page; any other failure may come after it.
_NOT_WRITTEN = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def create_file(path: Path) -> None:
    """Make the topic's file, and its directory, if they are not there.  Raises `Unavailable`."""
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            _flush_directory(path.parent.parent)
        connection = sqlite3.connect(path, timeout=BOUNDS_TIMEOUT_MS / 1000, isolation_level=None)
        try:
            connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(_TABLE)
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"{path}: cannot be made: {error}") from error


def _flush_directory(path: Path) -> None:
    """A directory's entry is durable only once the directory above it is flushed; SQLite flushes its own only."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class TopicFile:
    """One connection to one topic's file; belongs to one thread and is opened when first needed."""

    def __init__(self, topic: str, path: Path) -> None:
        self._topic = topic
        self._path = path
        self._name = str(path)
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._busy_ms = 0

    def append(self, record: bytes, deadline_s: float) -> int:
        """The new record's offset; `deadline_s` is on `time.monotonic`.  Raises as `Log.append` does."""
        try:
            connection = self._patient(deadline_s)
        except TimeoutError as late:
            raise AppendRefused(f"{self._topic}: {late}", final=False) from late
        except TopicMissing as missing:
            raise AppendRefused(str(missing), final=True) from missing
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise AppendRefused(f"{self._topic}: {error}", final=False) from error
        try:
            return self._insert(connection, record)
        except sqlite3.Error as error:
            self.close()  # takes back what was begun
            if _code(error) in _NOT_WRITTEN:
                raise AppendRefused(f"{self._topic}: {error}", final=False) from error
            raise AppendUnknown(f"{self._topic}: {error} while it was written") from error

    def _patient(self, deadline_s: float) -> sqlite3.Connection:
        """The connection, which waits for other processes' writes until then."""
        left_ms = int((deadline_s - time.monotonic()) * 1000)
        if left_ms <= 0:
            raise TimeoutError("the deadline passed before the write began")
        connection = self._open()
        if not left_ms - _BUSY_STEP_MS < self._busy_ms <= left_ms:
            self._busy_ms = left_ms - left_ms % _BUSY_STEP_MS or left_ms
            connection.execute(f"PRAGMA busy_timeout={self._busy_ms}")
        return connection

    def _insert(self, connection: sqlite3.Connection, record: bytes) -> int:
        """The offset, once it is durable: the statement is a transaction of its own."""
        insert = "INSERT INTO record SELECT coalesce(max(offset) + 1, 0), ?, ? FROM record"
        offset = connection.execute(insert, (zlib.crc32(record), record)).lastrowid
        assert offset is not None
        return offset

    def bounds(self) -> tuple[int, int]:
        """(first offset kept, next offset).  Raises `TopicMissing`, `RecordBroken`, `Unavailable`."""
        # Two subqueries: SQLite answers min and max from the index only when each stands alone.
        query = "SELECT (SELECT min(offset) FROM record), (SELECT max(offset) FROM record)"
        try:
            first, last = self._open().execute(query).fetchone()
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error
        return (0, 0) if first is None else (first, last + 1)

    def fetch(self, offset: int) -> list[Record]:
        """The records from `offset` on, as many as make a chunk; none at the tail.

        Raises `TopicMissing`, `OffsetGone`, `OffsetBeyondTail`, `RecordBroken`, `Unavailable`.
        """
        try:
            query = "SELECT offset, crc, body FROM record WHERE offset >= ? ORDER BY offset LIMIT ?"
            rows = self._open().execute(query, (offset, CHUNK_RECORDS))
            chunk = self._chunk(rows, offset)
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from error
        if not chunk:
            self._check_tail(offset)
        return chunk

    def _chunk(self, rows: sqlite3.Cursor, offset: int) -> list[Record]:
        chunk: list[Record] = []
        size = 0
        for found, crc, body in rows:
            problem = self._problem(found, expected=offset + len(chunk), crc=crc, body=body)
            if problem is not None:
                if chunk:
                    break  # first hand out what is good
                raise problem
            chunk.append(Record(found, body))
            size += len(body)
            if size >= CHUNK_BYTES:
                break
        rows.close()  # ends the read transaction, which would keep the write-ahead log from being emptied
        return chunk

    def _problem(self, found: int, *, expected: int, crc: int, body: bytes) -> OffsetGone | RecordBroken | None:
        if found != expected:
            first, _ = self.bounds()
            if expected < first:
                return OffsetGone(f"{self._topic}: offset {expected} is gone, the first one kept is {first}")
            return RecordBroken(f"{self._topic}: no record at offset {expected}, yet one at {found}")
        if zlib.crc32(body) != crc:
            return RecordBroken(f"{self._topic}: the record at offset {found} fails its checksum")
        return None

    def _check_tail(self, offset: int) -> None:
        first, end = self.bounds()
        if offset > end:
            raise OffsetBeyondTail(f"{self._topic}: offset {offset} lies beyond the end, {end} would be next")
        if offset < first:
            raise OffsetGone(f"{self._topic}: offset {offset} is gone, the first one kept is {first}")

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _failed(self, error: Exception) -> Exception:
        self.close()
        if _code(error) in _BROKEN:
            return RecordBroken(f"{self._topic}: {error}")
        return Unavailable(f"{self._topic}: {error}")

    def _open(self) -> sqlite3.Connection:
        try:
            inode = os.stat(self._name).st_ino  # noqa: PTH116 - `Path.stat` takes twice as long
        except FileNotFoundError:
            self.close()
            raise TopicMissing(f"{self._topic}: no file {self._path}") from None
        if self._connection is not None and inode != self._inode:
            self.close()  # the file was replaced: what we hold open is in no directory any more
        if self._connection is None:
            self._connection = self._connect()
            self._busy_ms = 0
            self._inode = inode
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        uri = self._path.absolute().as_uri() + "?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=BOUNDS_TIMEOUT_MS / 1000, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_BYTES // _PAGE_BYTES}")
            connection.execute(f"PRAGMA journal_size_limit={_WAL_KEPT_BYTES}")
            made = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'record'").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        if made is None:
            connection.close()
            raise TopicMissing(f"{self._topic}: {self._path} holds no log")
        return connection


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 if the error is not SQLite's own."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF
