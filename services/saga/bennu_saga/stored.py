"""What a fold of sagas holds, as slices for a snapshot, and back."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from bennu.replica.slices import Load, encode, sliced
from bennu.v1.saga_pb2 import SagaInputPart
from bennu_saga.outbox import Command, Outbox
from bennu_saga.state import COMPENSATION_FAILED, SagaState

_FEW, _SAGAS, _AWAITING, _TIMERS, _COMMANDS = b"F", b"S", b"A", b"T", b"C"
"""Each slice begins with one of these; the first is for what is never much."""


class Memory(NamedTuple):
    """All that replay changes, by reference."""

    sagas: dict[str, SagaState]
    failed: set[str]
    parked: set[str]
    by_definition: defaultdict[tuple[str, int], dict[str, None]]
    awaiting: dict[str, str]
    timers: list[tuple[int, str, int]]
    outbox: Outbox
    parts: dict[str, SagaInputPart]
    counts: Counter[int]
    touched: dict[str, None]


class _Few(msgspec.Struct, array_like=True):
    heads: dict[str, int]
    parts: list[bytes]
    counts: dict[int, int]
    touched: list[str]


_decode_few = msgspec.msgpack.Decoder(_Few).decode
_decode_sagas = msgspec.msgpack.Decoder(list[tuple[str, SagaState]]).decode
_decode_awaiting = msgspec.msgpack.Decoder(list[tuple[str, str]]).decode
_decode_timers = msgspec.msgpack.Decoder(list[tuple[int, str, int]]).decode
_decode_commands = msgspec.msgpack.Decoder(list[tuple[str, Command]]).decode


def dump(memory: Memory) -> Iterator[bytes]:
    """All of it; timers of settled steps and boxes that were never used are left out, as a replay may have none."""
    parts = [part.SerializeToString() for part in memory.parts.values()]
    yield _FEW + encode(_Few(memory.outbox.heads(), parts, dict(memory.counts), list(memory.touched)))
    timers = ((due, saga, step) for due, saga, step in memory.timers if _due(memory, saga, step) == due)
    commands = ((box.destination, one) for box in memory.outbox.boxes.values() for one in box.unconfirmed)
    for part, items in (
        (_SAGAS, memory.sagas.items()),
        (_AWAITING, memory.awaiting.items()),
        (_TIMERS, timers),
        (_COMMANDS, commands),
    ):
        for piece in sliced(map(encode, items)):
            yield part + piece


def _due(memory: Memory, saga_id: str, index: int) -> int:
    saga = memory.sagas.get(saga_id)
    return saga.at(index).due_at_us if saga is not None else 0


def load(memory: Memory) -> Load:
    """What puts slices into `memory`, which is empty."""
    loads: dict[bytes, Load] = {
        _FEW: lambda piece: _load_few(memory, piece),
        _SAGAS: lambda piece: _load_sagas(memory, piece),
        _AWAITING: lambda piece: memory.awaiting.update(_decode_awaiting(piece)),
        _TIMERS: lambda piece: _load_timers(memory, piece),
        _COMMANDS: lambda piece: _load_commands(memory, piece),
    }
    return lambda piece: loads[piece[:1]](piece[1:])


def _load_few(memory: Memory, piece: bytes) -> None:
    few = _decode_few(piece)
    for destination, last_no in few.heads.items():
        memory.outbox.box(destination).last_no = last_no
    for part in map(SagaInputPart.FromString, few.parts):
        memory.parts[part.topic] = part
    memory.counts.update(few.counts)
    memory.touched.update(dict.fromkeys(few.touched))


def _load_sagas(memory: Memory, piece: bytes) -> None:
    for saga_id, saga in _decode_sagas(piece):
        put(memory, saga_id, saga)


def put(memory: Memory, saga_id: str, saga: SagaState) -> None:
    """A saga as it stands, where it is looked for; what it awaits is for the caller."""
    memory.sagas[saga_id] = saga
    memory.by_definition[saga.definition, saga.version][saga_id] = None
    if saga.status == COMPENSATION_FAILED:
        memory.failed.add(saga_id)
    if saga.parked:
        memory.parked.add(saga_id)


def _load_timers(memory: Memory, piece: bytes) -> None:
    memory.timers.extend(_decode_timers(piece))
    heapq.heapify(memory.timers)


def _load_commands(memory: Memory, piece: bytes) -> None:
    for destination, command in _decode_commands(piece):
        box = memory.outbox.box(destination)
        box.unconfirmed.append(command)
        box.bytes += command.size
