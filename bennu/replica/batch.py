"""The batch being built: columns that grow by one element a command."""

from collections.abc import Sequence
from typing import Protocol

from bennu.limits import BATCH_BYTES, BATCH_ENTRIES
from bennu.replica.fold import EVENT, Decision
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EventBatch
from bennu.v1.position_pb2 import LogPosition, StreamCursor


class Decided(Protocol):
    """What an entry says of the command it answers."""

    @property
    def command_id(self) -> str:
        """Unique in the partition."""

    @property
    def type_name(self) -> str:
        """Full name of its message."""

    @property
    def digest(self) -> bytes:
        """16 bytes: identity of its payload."""

    @property
    def origin(self) -> Origin:
        """Shared, as an object, by commands that come together."""


class OpenBatch:
    """Entries, positions and cursors for one record; `recorded_at_us` is the journaled time of all of it."""

    def __init__(self, recorded_at_us: int) -> None:
        self.recorded_at_us = recorded_at_us
        self.forced = False
        self.bytes = 0
        self.command_ids: list[str] = []
        self.inputs: dict[str, LogPosition] = {}
        self.sources: dict[str, int] = {}
        self.outboxes: dict[str, int] = {}
        self._digests: list[bytes] = []
        self._command_types: dict[str, int] = {}
        self._command_type_indexes: list[int] = []
        self._origins: dict[int, int] = {}
        self._origin_list: list[Origin] = []
        self._origin_indexes: list[int] = []
        self._event_counts: list[int] = []
        self._outcomes: list[int] = []
        self._replies: list[bytes] = []
        self._event_types: dict[str, int] = {}
        self._event_type_indexes: list[int] = []
        self._events: list[bytes] = []

    @property
    def blank(self) -> bool:
        """Nothing in it has changed the state."""
        return not (self.command_ids or self.inputs or self.sources or self.outboxes)

    @property
    def empty(self) -> bool:
        """Nothing that would have to be written."""
        return self.blank and not self.forced

    @property
    def full(self) -> bool:
        """No further command should be decided into it."""
        return self.bytes > BATCH_BYTES or len(self.command_ids) >= BATCH_ENTRIES

    def add(self, command: Decided, decision: Decision) -> None:
        """One entry."""
        outcome, reply, types, events = decision
        command_id = command.command_id
        self.command_ids.append(command_id)
        self._digests.append(command.digest)
        names = self._command_types
        self._command_type_indexes.append(names.setdefault(command.type_name, len(names)))
        self._origin_indexes.append(self._origin(command.origin))
        self._outcomes.append(outcome)
        self._event_counts.append(len(events))
        self.bytes += len(command_id) + len(reply) + 24
        if outcome != EVENT:
            self._replies.append(reply)
        known = self._event_types
        for name, raw in zip(types, events, strict=True):
            self._event_type_indexes.append(known.setdefault(name, len(known)))
            self._events.append(raw)
            self.bytes += len(raw) + 3

    def _origin(self, origin: Origin) -> int:
        # By identity: commands of one frame share the object, and comparing messages would cost more than it saves.
        index = self._origins.get(id(origin))
        if index is None:
            index = self._origins[id(origin)] = len(self._origin_list)
            self._origin_list.append(origin)
            self.bytes += origin.ByteSize() + 2
        return index

    def build(self) -> EventBatch:
        """The columns as a message; its header is the leader's to fill in."""
        return EventBatch(
            recorded_at_us=self.recorded_at_us,
            inputs=self.inputs.values(),
            sources=_cursors(self.sources),
            outboxes=_cursors(self.outboxes),
            event_types=self._event_types,
            command_types=self._command_types,
            origins=self._origin_list,
            command_ids=self.command_ids,
            payload_digests=b"".join(self._digests),
            command_type_indexes=self._command_type_indexes,
            origin_indexes=self._origin_indexes if any(self._origin_indexes) else (),
            event_counts=self._event_counts,
            outcomes=self._outcomes,
            replies=self._replies,
            event_type_indexes=self._event_type_indexes,
            events=self._events,
        )


def _cursors(numbers: dict[str, int]) -> Sequence[StreamCursor]:
    return [StreamCursor(stream=stream, last_no=number) for stream, number in numbers.items()]
