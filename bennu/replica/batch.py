"""The batch being built: columns that grow by one element a command."""

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Protocol, TypeVar

from bennu.limits import BATCH_BYTES, BATCH_ENTRIES, ENTRY_BYTES, FEW_ENTRIES
from bennu.replica.decision import Decision
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


C = TypeVar("C", bound=Decided)


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
        self._commands: list[Decided] = []
        self._decisions: list[Decision] = []
        self._origin: Origin | None = None
        self._origins: dict[int, Origin] = {}
        """By identity: commands of one frame share the object, and comparing messages would cost more than it saves."""

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

    @property
    def filling(self) -> bool:
        """It has commands, and room for more."""
        return bool(self.command_ids) and not self.full

    @property
    def small(self) -> bool:
        """It has few commands, and an append of it would mostly be the append."""
        return len(self.command_ids) < FEW_ENTRIES

    def add(self, command: Decided, decision: Decision) -> None:
        """One entry."""
        command_id = command.command_id
        self.command_ids.append(command_id)
        self._commands.append(command)
        self._decisions.append(decision)
        self.bytes += len(command_id) + ENTRY_BYTES + decision.size_bytes
        if command.origin is not self._origin:
            self._take(command.origin)

    def room_for(self, commands: Sequence[C]) -> tuple[Sequence[C], int]:
        """Those that may be decided into it, if the decisions of those before each take no more than so many bytes."""
        some = commands[: BATCH_ENTRIES - len(self.command_ids)]
        of_origins = sum(map(_bytes_of, self._new_origins(some)))
        of_ids = sum(map(len, map(_id_of, some))) + ENTRY_BYTES * len(some)
        return some, BATCH_BYTES - self.bytes - of_ids - of_origins

    def add_all(self, commands: Sequence[Decided], decisions: Sequence[Decision]) -> Sequence[str]:
        """As `add` for each, at a third of the cost; their ids."""
        command_ids = list(map(_id_of, commands))
        self.command_ids += command_ids
        self._commands += commands
        self._decisions += decisions
        self.bytes += sum(map(len, command_ids)) + ENTRY_BYTES * len(commands) + sum(map(_size_of, decisions))
        for origin in self._new_origins(commands):
            self._take(origin)
        return command_ids

    def _new_origins(self, commands: Sequence[Decided]) -> Iterable[Origin]:
        """Those that are not in it yet, each once."""
        origins = list(map(_origin_of, commands))
        if self._origins.keys() >= set(map(id, origins)):
            return ()  # as nearly always: one client's commands have one
        return {id(origin): origin for origin in origins if id(origin) not in self._origins}.values()

    def _take(self, origin: Origin) -> None:
        self._origin = origin
        if id(origin) not in self._origins:
            self._origins[id(origin)] = origin
            self.bytes += _bytes_of(origin)

    def build(self) -> EventBatch:
        """The entries as columns of a message; its header is the leader's to fill in."""
        # One column after the other, each in C: 0.4 us an entry, where a dozen lists that grow with each took 1.3.
        commands, decisions = self._commands, self._decisions
        outcomes = list(map(_outcome_of, decisions))
        events = list(map(_events_of, decisions))
        types = list(chain.from_iterable(map(_types_of, decisions)))
        command_types = list(map(_type_of, commands))
        origins = _numbers(self._origins)
        return EventBatch(
            recorded_at_us=self.recorded_at_us,
            inputs=self.inputs.values(),
            sources=_cursors(self.sources),
            outboxes=_cursors(self.outboxes),
            event_types=_numbers(types),
            command_types=_numbers(command_types),
            origins=self._origins.values(),
            command_ids=self.command_ids,
            payload_digests=b"".join(map(_digest_of, commands)),
            command_type_indexes=map(_numbers(command_types).__getitem__, command_types),
            origin_indexes=[origins[id(command.origin)] for command in commands] if len(origins) > 1 else (),
            event_counts=map(len, events),
            outcomes=outcomes,
            replies=[decision.answer for decision in decisions if decision.outcome] if any(outcomes) else (),
            event_type_indexes=map(_numbers(types).__getitem__, types),
            events=chain.from_iterable(events),
        )


_id_of, _type_of, _digest_of = attrgetter("command_id"), attrgetter("type_name"), attrgetter("digest")
_origin_of, _size_of = attrgetter("origin"), attrgetter("size_bytes")
_outcome_of, _types_of, _events_of = attrgetter("outcome"), attrgetter("types"), attrgetter("events")
T = TypeVar("T")


def _bytes_of(origin: Origin) -> int:
    return origin.ByteSize() + 2


def _numbers(found: Iterable[T]) -> dict[T, int]:
    """Each with its number, in the order in which they come first."""
    return {each: number for number, each in enumerate(dict.fromkeys(found))}


def _cursors(numbers: dict[str, int]) -> Sequence[StreamCursor]:
    return [StreamCursor(stream=stream, last_no=number) for stream, number in numbers.items()]
