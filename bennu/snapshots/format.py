"""What a snapshot is: a header, and chunks that together are the slices of a replica's state.

    chunks    the slices of `ReplicaState.dump`, each with its length before it, cut every `CHUNK_BYTES`
    header    where, when and by whom; the forms of the states; a digest of each chunk, and one of the header itself

So each chunk is known to be right before anything in it is looked at.
"""

import hashlib
from collections.abc import Iterator

import msgspec

from bennu.build import build
from bennu.errors import BadSettings
from bennu.replica.journal import Position
from bennu.replica.slices import Form, Unfit
from bennu.replica.state import ReplicaState
from bennu.snapshots.limits import CHUNK_BYTES

FORMAT_VERSION = 1
LENGTH_BYTES = 4


class _Version(msgspec.Struct):
    format_version: int


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """All that is said of a snapshot."""

    format_version: int
    app: str
    topic: str
    partition: int
    partitions: int
    position: Position
    """Everything below its offset is in the state, and nothing else."""
    forms: dict[str, Form]
    """Of the states, by kind, in the order of their numbers in the chunks."""
    build: str
    """Version of Bennu that took it."""
    created_at_us: int
    """Wall time, for people."""
    size: int
    """Bytes in all chunks."""
    chunks: list[bytes]
    """Digest of each."""
    digest: bytes = b""
    """Of all the rest."""

    def encode(self) -> bytes:
        """As it is kept."""
        return _encode(self)

    def digested(self) -> "Header":
        """The same with its digest."""
        blank = msgspec.structs.replace(self, digest=b"")
        return msgspec.structs.replace(self, digest=digest_of(blank.encode()))


_encode = msgspec.msgpack.Encoder().encode
_decode_version = msgspec.msgpack.Decoder(_Version).decode
_decode_header = msgspec.msgpack.Decoder(Header).decode


def digest_of(content: bytes) -> bytes:
    """BLAKE2b-128."""
    return hashlib.blake2b(content, digest_size=16).digest()


def decode_header(raw: object) -> Header:
    """Raises `Unfit` for one that was changed since, or is of a format that this version of Bennu does not know."""
    if not isinstance(raw, bytes):
        raise Unfit(f"its header is not of bytes, but of type {type(raw).__name__}: the column was changed")
    try:
        found = _decode_version(raw).format_version
        if found != FORMAT_VERSION:
            raise Unfit(f"it has format {found}, and this version of Bennu reads format {FORMAT_VERSION}")
        header = _decode_header(raw)
    except (ValueError, RecursionError) as error:  # msgspec's own is a ValueError, and so is text that is none
        raise Unfit(f"its header can't be read: {error}") from error
    if header.digested() != header:
        raise Unfit("its header was changed since: the digest differs")
    return header


def app_of(topic: str) -> str:
    """The app that this journal belongs to."""
    return topic.rsplit("-", 2)[0]


class Draft:
    """A snapshot in the making: all of `chunks`, then `header`.  The state must stand still until then."""

    def __init__(self, state: ReplicaState, position: Position, *, created_at_us: int) -> None:
        if position.offset == 0:
            raise BadSettings(f"{position.topic}: nothing was read, so there is nothing to take a snapshot of")
        self.topic = position.topic
        self._state = state
        self._position = position
        self._created_at_us = created_at_us
        self._digests: list[bytes] = []
        self._size = 0

    def chunks(self) -> Iterator[bytes | None]:
        """The chunks; None wherever others should have a turn."""
        held = bytearray()
        for piece in self._state.dump():
            held += len(piece).to_bytes(LENGTH_BYTES, "big") + piece
            while len(held) >= CHUNK_BYTES:
                yield self._counted(bytes(held[:CHUNK_BYTES]))
                del held[:CHUNK_BYTES]
            yield None
        if held:
            yield self._counted(bytes(held))

    def _counted(self, chunk: bytes) -> bytes:
        self._digests.append(digest_of(chunk))
        self._size += len(chunk)
        return chunk

    def header(self) -> Header:
        """Of the chunks that were taken."""
        return Header(
            format_version=FORMAT_VERSION,
            app=app_of(self.topic),
            topic=self.topic,
            partition=self._state.partition,
            partitions=self._state.partitions,
            position=self._position,
            forms=self._state.fold.forms,
            build=build(),
            created_at_us=self._created_at_us,
            size=self._size,
            chunks=self._digests,
        ).digested()


class Slices:
    """The slices that stand in chunks, which are given one after another."""

    def __init__(self, header: Header) -> None:
        self._expected = iter(header.chunks)
        self._held = bytearray()

    def of(self, chunk: object) -> Iterator[bytes]:
        """Those that end in this chunk.  Raises `Unfit` for one that is not the next."""
        if not isinstance(chunk, bytes):
            raise Unfit(f"a chunk is not of bytes, but of type {type(chunk).__name__}: the column was changed")
        expected = next(self._expected, None)
        if expected is None:
            raise Unfit("it has more chunks than its header says")
        if digest_of(chunk) != expected:
            raise Unfit("a chunk was changed since, or is not the next one: its digest differs")
        self._held += chunk
        at = 0
        while (end := self._end(at)) <= len(self._held):
            yield bytes(self._held[at + LENGTH_BYTES : end])
            at = end
        del self._held[:at]

    def _end(self, at: int) -> int:
        """Of the slice that begins here; beyond what is held when its length is."""
        length = int.from_bytes(self._held[at : at + LENGTH_BYTES], "big")
        return at + LENGTH_BYTES + (length if at + LENGTH_BYTES <= len(self._held) else 0)

    def end(self) -> None:
        """Raise `Unfit` unless that was all."""
        if self._held or next(self._expected, None) is not None:
            raise Unfit("it is truncated: chunks are missing")
