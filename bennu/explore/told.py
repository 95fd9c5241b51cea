"""A path in words: to each event the commands, events or steps that it was about."""

import re
from collections.abc import Iterator, Sequence

from bennu.errors import BennuError
from bennu.explore.processes import batches
from bennu.explore.records import SagaRecords
from bennu.explore.values import Event, Path, World
from bennu.explore.world import Model
from bennu.replica.decision import EVENT, REJECTED
from bennu.v1.command_pb2 import CommandBatch, Rejection
from bennu.v1.journal_pb2 import EventBatch
from bennu_saga.state import COMPENSATION, FORWARD

OF_NO_LOG = ("fire", "crash")
ATTEMPT = re.compile(r"[fce](\d+)$")
"""In the id of a command that is asked for anew."""


def told(model: Model, path: Path) -> Sequence[str]:
    """Each event of a path from the model's beginning, such as `refuse 1 (plan: FilePlan; fault)`."""
    return list(_gone(model, path))


def _gone(model: Model, path: Path) -> Iterator[str]:
    world = model.start()
    for event in path:
        try:
            after = model.after(world, event)
        except BennuError:  # what Bennu stopped with is the failure itself
            yield _line(world, event, "")
            return
        yield _line(world, event, ", ".join(dict.fromkeys(_about(model, world, after, event=event))))
        world = after


def _line(before: World, event: Event, about: str) -> str:
    kind, place, fault = event
    log = "" if kind in OF_NO_LOG else f" {before.limbo[place][0] if kind == 'land' else place}"
    words = "; ".join(filter(None, (about, "fault" if fault else "")))
    return f"{kind}{log} ({words})" if words else f"{kind}{log}"


def _about(model: Model, before: World, after: World, *, event: Event) -> Iterator[str]:
    kind, place, _ = event
    if kind in ("take", "refuse"):
        yield from _commands(model, after, before.commands[place][before.taken[place]])
    elif kind in ("send", "twice"):
        yield from _commands(model, after, after.commands[place][-1])
    elif kind == "late":
        yield from _commands(model, after, after.limbo[-1][1])
    elif kind == "land":
        yield from _commands(model, after, before.limbo[place][1])
    elif kind == "read":
        events = before.events[place]
        found = batches(model.places[place].events, events[: after.seen[place]])
        read = batches(model.places[place].events, events[: before.seen[place]])
        for batch in found[len(read) :]:
            yield from _outcomes(batch)
    elif kind == "fire":
        timer = model.sagas(before).fold.next_timer()
        if timer is not None:
            yield SagaRecords(model, before).plan(timer[1])[timer[2]].name


def _commands(model: Model, world: World, record: bytes) -> Iterator[str]:
    """The steps that a record of a command log is for, and the types of their commands."""
    records, batch = SagaRecords(model, world), CommandBatch.FromString(record)
    for command_id in batch.command_ids:
        issued = records.issued[command_id]
        name = issued.type.rpartition(".")[2]
        if issued.role == FORWARD:
            what = records.plan(issued.saga_id)[issued.step].name
        elif issued.role == COMPENSATION:
            what = f"undo {records.plan(issued.saga_id)[issued.step].name}"
        else:
            what = "the end"
        yield f"{what}: {name}{' anew' if ATTEMPT.search(command_id) else ''}"


def _outcomes(batch: EventBatch) -> Iterator[str]:
    """The events of a record, and the reasons of refusals."""
    replies = iter(batch.replies)
    for outcome in batch.outcomes:
        reply = b"" if outcome == EVENT else next(replies)
        if outcome >= REJECTED:
            yield Rejection.FromString(reply).reason
    yield from (batch.event_types[index].rpartition(".")[2] for index in batch.event_type_indexes)
