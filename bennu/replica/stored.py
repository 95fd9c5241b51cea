"""The states of aggregates as slices, and back, older versions upcast."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec

from bennu.domain.aggregate import State
from bennu.domain.app import AggregateKind
from bennu.domain.older import Older
from bennu.replica.agreement import form_of
from bennu.replica.slices import Form, Load, Unfit, encode, sliced

KIND_BYTES = 2
TOUCHED = b"\xff" * KIND_BYTES
_decode_touched = msgspec.msgpack.Decoder(dict[str, list[str]]).decode
States = dict[str, State]


def forms_of(kinds: Iterable[AggregateKind]) -> dict[str, Form]:
    """Of the states of these kinds, as they are now."""
    return {kind.name: Form(kind.state.state_version, form_of([(kind.name, kind.state)])) for kind in kinds}


class Memory(NamedTuple):
    """The states of a fold, by number of their kind and by key; and which were touched since the last digest."""

    kinds: Sequence[AggregateKind]
    states: Sequence[States]
    touched: Sequence[States]


def dump_states(memory: Memory) -> Iterator[bytes]:
    """Slices of keys and states, each led by the number of its kind; last, what no digest covers yet."""
    for number, of_kind in enumerate(memory.states):
        for piece in sliced(map(encode, of_kind.items())):
            yield number.to_bytes(KIND_BYTES, "big") + piece
    touched = {kind.name: list(keys) for kind, keys in zip(memory.kinds, memory.touched, strict=True)}
    yield TOUCHED + encode(touched)


def load_states(memory: Memory, forms: Mapping[str, Form]) -> Load:
    """What puts slices into `memory`; `forms` are those of the snapshot, in the order of its numbers.

    Raises `Unfit` when these kinds, or these versions of them, can't be read here.
    """
    kinds, states, touched = memory
    places = {kind.name: number for number, kind in enumerate(kinds)}
    now = forms_of(kinds)
    if unknown := [name for name in forms if name not in places]:
        raise Unfit(f"it holds states of {', '.join(unknown)}, which this app does not have")
    loads = [
        _load_kind(kinds[places[name]], states[places[name]], stored=form, now=now[name])
        for name, form in forms.items()
    ]

    def load(piece: bytes) -> None:
        if piece.startswith(TOUCHED):
            for name, keys in _decode_touched(piece[KIND_BYTES:]).items():
                touched[places[name]].update((key, states[places[name]][key]) for key in keys)
            return
        loads[int.from_bytes(piece[:KIND_BYTES], "big")](piece[KIND_BYTES:])

    return load


def _load_kind(kind: AggregateKind, states: States, *, stored: Form, now: Form) -> Load:
    if stored.version == now.version:
        if stored.digest != now.digest:
            raise Unfit(f"the fields of {kind.name}'s state have changed, and its state_version has not")
        decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(list[tuple[str, kind.state]]).decode  # type: ignore[name-defined]  # a type of the app's
        return lambda piece: states.update(decode(piece))
    older = kind.older.get(stored.version)
    if older is None:
        raise Unfit(
            f"the state of {kind.name} is of version {stored.version}, and no upcaster leads on to {now.version}"
        )
    return _load_older(kind.name, states, older)


def _load_older(name: str, states: States, older: Older) -> Load:
    decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(list[tuple[str, older.state]]).decode  # type: ignore[name-defined]  # a type of the app's

    def load(piece: bytes) -> None:
        pairs = decode(piece)
        try:
            newer = [older.upcast(state) for _, state in pairs]
        except Exception as error:  # whatever a domain's upcaster raises, an older snapshot or the journal serves
            raise Unfit(f"an upcaster of {name}'s states raised {type(error).__name__}: {error}") from error
        states.update(zip(map(itemgetter(0), pairs), newer, strict=True))

    return load
