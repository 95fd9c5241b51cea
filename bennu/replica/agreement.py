"""Whether this replica's states are what the journal says they are: the digests of state, and what they prove.

A batch carries a digest of the states that it touched, as they are after it (see docs/adr/0009-divergence.md).  So the
first digest that differs belongs to the first batch after which states differ, as far as states were touched at all.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec
from msgspec import inspect

from bennu.errors import Diverged
from bennu.v1.journal_pb2 import EventBatch

FORM_BYTES = 4
STATE_BYTES = 16
SHOWN = 5
"""Touched aggregates that a message names."""

encode_state = msgspec.msgpack.Encoder(order="deterministic").encode


class Digests(Protocol):
    """What is asked of a fold."""

    form: bytes
    """Of the states."""

    def digest(self) -> bytes:
        """Digest of the states touched since the last one was taken; empty if none was."""

    def covered(self) -> Sequence[str]:
        """What the last digest covers, in words."""


class Touched(NamedTuple):
    """States of one kind, each as it is now."""

    kind: str
    keys: Sequence[str]
    states: Sequence[object]


def digest_of(form: bytes, touched: Iterable[Touched]) -> bytes:
    """`form`, and SHA-256 of the states, cut to 16 bytes: nobody attacks it, and it is taken for every batch."""
    total = hashlib.sha256()
    for one in touched:
        total.update(encode_state(one))
    return form + total.digest()[:STATE_BYTES]


def form_of(kinds: Iterable[tuple[str, type[msgspec.Struct]]]) -> bytes:
    """Four bytes that name the form of these states: names of kinds and fields, and their types.

    A build whose states have other fields has other digests of the same history, and neither is wrong.
    """
    shapes = [(name, _shape(inspect.type_info(state), ())) for name, state in kinds]
    return hashlib.sha256(repr(shapes).encode()).digest()[:FORM_BYTES]


def _shape(info: object, within: tuple[type, ...]) -> object:
    """How the type is encoded, as plain data that is the same in every process."""
    if isinstance(info, inspect.StructType):
        if info.cls in within:
            return within.index(info.cls)
        fields = [(field.encode_name, _shape(field.type, (*within, info.cls))) for field in info.fields]
        return info.tag_field, info.tag, info.array_like, fields  # not the name of the class: it is not encoded
    if isinstance(info, inspect.Type):
        parts = [getattr(info, name) for name in info.__struct_fields__]
        return type(info).__name__, [_shape(part, within) for part in parts]
    if isinstance(info, tuple):
        return [_shape(part, within) for part in info]
    return info.__qualname__ if isinstance(info, type) else repr(info)


class Agreement:
    """What comparing has shown so far."""

    def __init__(self) -> None:
        self.compared = 0
        self.foreign = 0
        """Digests of states of another form, written by another build: they prove nothing either way."""
        self._last_no = 0
        self._foreign_nos = (0, 0)

    def check(self, fold: Digests, batch: EventBatch, where: str) -> None:
        """Compare the batch's digest with ours.  Raises `Diverged`, naming the batch and what it touched."""
        ours = fold.digest()
        if batch.state_digest[:FORM_BYTES] != fold.form:
            self.foreign += 1
            self._foreign_nos = (self._foreign_nos[0] or batch.batch_no, batch.batch_no)
        elif batch.state_digest == ours:
            self.compared += 1
            self._last_no = batch.batch_no
        else:
            raise Diverged(f"{where}: {self._difference(batch, fold.covered())}")

    def _difference(self, batch: EventBatch, covered: Sequence[str]) -> str:
        shown = ", ".join(covered[:SHOWN]) + (f" and {len(covered) - SHOWN} more" if len(covered) > SHOWN else "")
        agreed = f"batch {self._last_no} still agreed" if self._last_no else "none before it was compared"
        if self.foreign:
            first, last = self._foreign_nos
            agreed += f", but {self.foreign} from {first} to {last} are of states of another form and prove nothing"
        return (
            f"batch {batch.batch_no} (events {batch.first_seq} to {batch.first_seq + len(batch.events) - 1}) is the "
            f"first after which this replica's state differs from the journal's digest; {agreed}; it touched {shown}. "
            "A rule reads a clock, draws a random number or changes state in `decide`, or the code has changed. A cold "
            "replay by `bennu journal verify --app` arbitrates: if it agrees, this process's memory was wrong; if it "
            "differs here too, the leader's was, or the code is not the one that wrote this"
        )
