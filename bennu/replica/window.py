"""The window of replies: what was answered to which command id, kept by count and age.

Part of the replicated state.  Eviction follows journaled time and whole batches, so every replica keeps the same ids.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from itertools import repeat
from typing import NamedTuple

import msgspec

from bennu.replica.batch import Decided
from bennu.replica.bundle import OUTCOMES, Bundle
from bennu.replica.decision import Decision
from bennu.replica.slices import Load, encode, sliced

DIGEST_END = 16
"""A kept reply is one bytes object: payload digest, one byte of outcome, reply."""

TIME_CHARS = 13
"""The first characters of a UUIDv7's text are its time: 48 bits of milliseconds in hexadecimal, with one dash."""

UUID_CHARS = 36
_UUID7 = re.compile("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-7[0-9a-fA-F]{3}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


PIECE_ENTRIES = 256
"""Entries of a batch that are encoded at once."""


class Piece(NamedTuple):
    """Some entries of a batch, as they stand in a snapshot."""

    opens: bool
    """The first of its batch."""
    recorded_at_us: int
    command_ids: list[str]
    kept: list[bytes]


_decode_bounds = msgspec.msgpack.Decoder(tuple[int, int, str, list[tuple[str, str]]]).decode
_decode_pieces = msgspec.msgpack.Decoder(list[Piece]).decode


class Kept(NamedTuple):
    """A reply as it was given."""

    digest: bytes
    outcome: int
    reply: bytes


def is_uuid7(command_id: str) -> bool:
    """Whether this text is a UUIDv7 as its text form is usually written."""
    return len(command_id) == UUID_CHARS and _UUID7.fullmatch(command_id) is not None


def _time_of(us: int) -> str:
    """A time in microseconds as the first characters of a UUIDv7."""
    text = f"{us // 1000:012x}"
    return f"{text[:8]}-{text[8:]}"


class ReplyWindow:
    """Replies by command id, the oldest batch first to go."""

    def __init__(self) -> None:
        self.count = 0
        self.age_us = 0
        self.floor = ""
        """Time of the last UUIDv7 evicted; never ahead of the journal, or one fast clock would shut out all others."""
        self._ahead: list[tuple[str, str]] = []
        """(time, id) of those evicted that claim to be newer than the journal: a heap, until its time has come."""
        self._ahead_ids: set[str] = set()
        self._replies: dict[str, bytes | Bundle] = {}
        """What is kept of each; or all that was read with it, as nearly nobody asks for what was answered long ago."""
        self._batches: deque[tuple[int, list[str]]] = deque()
        self._recent: list[str] = []

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, command_id: str) -> Kept | None:
        """The reply to this id, if it is kept."""
        kept = self._replies.get(command_id)
        if isinstance(kept, Bundle):
            kept = self._undo(kept)[command_id]
        if kept is None:
            return None
        return Kept(kept[:DIGEST_END], kept[DIGEST_END], kept[DIGEST_END + 1 :])

    def forgotten(self, command_id: str) -> bool:
        """Whether an id that is not kept may have been answered before: a UUIDv7 not newer than one evicted."""
        if not (self.floor or self._ahead_ids) or not is_uuid7(command_id):
            return False
        return command_id[:TIME_CHARS].lower() <= self.floor or command_id.lower() in self._ahead_ids

    def all_new(self, command_ids: Sequence[str]) -> bool:
        """Whether none of these is kept or may have been forgotten, nor stands among them twice.

        Seen for all at once, 0.1 us each; where it can't be, False says that each has to be looked at.
        """
        return (
            # A text sorts not after itself in small letters, so all of them are newer than `floor` if the first one is.
            (not self.floor or min(command_ids, default="")[:TIME_CHARS] > self.floor)
            and not self._ahead_ids
            and self._replies.keys().isdisjoint(command_ids)
            and len(set(command_ids)) == len(command_ids)
        )

    def add(self, command_id: str, digest: bytes, *, outcome: int, reply: bytes) -> None:
        """Keep the reply of an entry of the batch that `end_batch` will close."""
        self._replies[command_id] = digest + OUTCOMES[outcome] + reply
        self._recent.append(command_id)

    def add_all(self, command_ids: Sequence[str], commands: Sequence[Decided], decisions: Sequence[Decision]) -> None:
        """As `add` for each, at a third of the cost."""
        kept = [
            command.digest + OUTCOMES[decision.outcome] + decision.answer
            for command, decision in zip(commands, decisions, strict=True)
        ]
        self.add_batch(command_ids, kept)

    def add_batch(self, command_ids: Sequence[str], kept: Iterable[bytes]) -> None:
        """As `add` for a whole batch, from the bytes as they are kept."""
        self._replies.update(zip(command_ids, kept, strict=True))
        self._recent.extend(command_ids)

    def add_bundle(self, bundle: Bundle) -> None:
        """As `add` for all of a batch, which was read: no object is made for any of its replies."""
        assert not self._recent, "a batch is open"
        self._replies.update(zip(bundle.command_ids, repeat(bundle)))
        self._recent = bundle.command_ids

    def _undo(self, bundle: Bundle) -> dict[str, bytes]:
        """What is kept by its ids, each from now on by itself: who repeats one command often repeats others, too."""
        kept = bundle.by_id()
        self._replies.update((each, kept[each]) for each in kept if self._replies.get(each) is bundle)
        return kept

    def end_batch(self, recorded_at_us: int) -> None:
        """Close the batch and evict what is beyond count or age."""
        if self._recent:
            self._batches.append((recorded_at_us, self._recent))
            self._recent = []
        oldest_us, now = recorded_at_us - self.age_us, _time_of(recorded_at_us)
        while self._batches and (len(self._replies) > self.count or self._batches[0][0] < oldest_us):
            self._evict(self._batches.popleft()[1], now)
        while self._ahead and self._ahead[0][0] <= now:
            made, command_id = heappop(self._ahead)
            self._ahead_ids.discard(command_id)
            self.floor = max(self.floor, made)

    def _evict(self, command_ids: Sequence[str], now: str) -> None:
        # In C alone: the processor looks for one while it waits for the memory of another.
        deque(map(self._replies.pop, command_ids, repeat(None)), maxlen=0)
        newest = max(map(str.lower, command_ids))
        if is_uuid7(newest) and newest[:TIME_CHARS] <= now:
            # It decides for all: none claims to be newer than the journal.  0.1 us an id instead of 1.
            self.floor = max(self.floor, newest[:TIME_CHARS])
        else:
            self._raise_floor(command_ids, now)

    def _raise_floor(self, command_ids: Sequence[str], now: str) -> None:
        for command_id in filter(is_uuid7, map(str.lower, command_ids)):
            made = command_id[:TIME_CHARS]
            if made <= now:
                self.floor = max(self.floor, made)
            else:
                heappush(self._ahead, (made, command_id))
                self._ahead_ids.add(command_id)

    # --- snapshots

    def dump(self) -> Iterator[bytes]:
        """Slices of all there is: bounds and floor, then the replies in their batches.  Between two batches only."""
        assert not self._recent, "a batch is open"
        yield encode((self.count, self.age_us, self.floor, self._ahead))
        yield from sliced(map(encode, self._pieces()))

    def _pieces(self) -> Iterator[Piece]:
        by_id = lru_cache(1)(Bundle.by_id)  # a bundle has the ids of one batch, which stand together
        for recorded_at_us, command_ids in self._batches:
            for first in range(0, len(command_ids), PIECE_ENTRIES):
                some = command_ids[first : first + PIECE_ENTRIES]
                yield Piece(first == 0, recorded_at_us, some, [self._kept(each, by_id) for each in some])

    def _kept(self, command_id: str, by_id: Callable[[Bundle], Mapping[str, bytes]]) -> bytes:
        found = self._replies[command_id]
        return by_id(found)[command_id] if isinstance(found, Bundle) else found

    def load(self) -> Load:
        """What puts slices into this one, which is empty."""
        bounded = False

        def load(slice_: bytes) -> None:
            nonlocal bounded
            if bounded:
                self._load_pieces(slice_)
            else:
                self.count, self.age_us, self.floor, self._ahead = _decode_bounds(slice_)
                self._ahead_ids.update(command_id for _, command_id in self._ahead)
                bounded = True

        return load

    def _load_pieces(self, slice_: bytes) -> None:
        for opens, recorded_at_us, command_ids, kept in _decode_pieces(slice_):
            self._replies.update(zip(command_ids, kept, strict=True))
            if opens:
                self._batches.append((recorded_at_us, command_ids))
            else:
                self._batches[-1][1].extend(command_ids)
