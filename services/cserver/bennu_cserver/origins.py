"""Who asks, and within which trace: from a call's metadata, or as it came with a batch of commands."""

from collections.abc import Sequence

from bennu.limits import (
    MAX_ACTOR_BYTES,
    MAX_CAUSATION_ID_BYTES,
    MAX_CORRELATION_ID_BYTES,
    MAX_REASON_BYTES,
    MAX_TRACEPARENT_BYTES,
)
from bennu.v1.command_pb2 import CommandBatch, Origin

NO_ORIGIN = Origin(actor="anonymous")

METADATA = {
    "actor": "bennu-actor",
    "correlation_id": "bennu-correlation-id",
    "causation_id": "causation_id",
    "traceparent": "traceparent",
    "reason": "bennu-reason",
}
"""Field of an Origin → what clients call it."""

BOUNDS = {
    "actor": MAX_ACTOR_BYTES,
    "correlation_id": MAX_CORRELATION_ID_BYTES,
    "causation_id": MAX_CAUSATION_ID_BYTES,
    "traceparent": MAX_TRACEPARENT_BYTES,
    "reason": MAX_REASON_BYTES,
}


SAYING = frozenset({*METADATA.values(), "bennu-reason-bin"})


def origin_in(metadata: dict[str, str | bytes]) -> Origin:
    """What a call's metadata says; not checked yet.  One object for all that say nothing, as most do."""
    if SAYING.isdisjoint(metadata):
        return NO_ORIGIN
    return Origin(
        actor=str(metadata.get("bennu-actor", NO_ORIGIN.actor)),
        correlation_id=str(metadata.get("bennu-correlation-id", "")),
        traceparent=str(metadata.get("traceparent", "")),
        reason=_reason(metadata),
    )


def _reason(metadata: dict[str, str | bytes]) -> str:
    """In any language as `bennu-reason-bin`, or in ASCII without the ending."""
    said = metadata.get("bennu-reason-bin", metadata.get("bennu-reason", ""))
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said


def origins_of(batch: CommandBatch, part: range, *, by: Origin = NO_ORIGIN) -> Sequence[Origin]:
    """Of some of the commands; one object for all that share it.  `by`: who asks, where the batch does not say."""
    if not batch.origins:
        return [by] * len(part)
    indexes = batch.origin_indexes[part.start : part.stop] or [0] * len(part)
    used = {index: batch.origins[index] for index in set(indexes)}  # not all: each command may have one of its own
    return [used[index] for index in indexes]


def problem_of(origin: Origin) -> tuple[str, str] | None:
    """What clients call the field at fault, and what is wrong with it; an origin is journaled, so it has bounds."""
    if not origin.actor:
        return METADATA["actor"], "every command has an actor; this one is empty"
    for field, most in BOUNDS.items():
        found = len(getattr(origin, field).encode())
        if found > most:
            return METADATA[field], f"{METADATA[field]} has {found} bytes; at most {most} are taken"
    return None
