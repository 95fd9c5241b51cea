"""The commands that sagas issue: made by their rules, identified, numbered per destination."""

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from google.protobuf.message import Message

from bennu.domain.saga import COMMAND_ID_PREFIX
from bennu.limits import MAX_COMMAND_ID_BYTES
from bennu.v1.saga_pb2 import SagaCommandIssued, SagaCommandRole
from bennu.wire.commands import CONTROL_CHARACTER
from bennu.wire.partitioning import partition_of
from bennu_saga.definitions import Definition, Definitions, Made, RuleFailed, call_rule
from bennu_saga.moves import Move
from bennu_saga.outbox import Outbox
from bennu_saga.state import CLOSING, COMPENSATION, DONE, FORWARD, RESTING, RUNNING, SagaState

_LETTER = {FORWARD: "f", COMPENSATION: "c", CLOSING: "e"}


class Issuing:
    """Makes the command of a move; changes nothing."""

    def __init__(self, definitions: Definitions, outbox: Outbox, counts: Mapping[str, int]) -> None:
        """`counts`: how many partitions each app has."""
        self._definitions = definitions
        self._outbox = outbox
        self._counts = counts

    def is_left_out(self, definition: Definition, saga: SagaState, index: int) -> bool:
        """Whether the step's condition says that it is not for this saga.  Raises `RuleFailed`."""
        confirms, when = definition.plan[index].confirms, definition.plan[index].when
        if confirms >= 0 and saga.at(confirms).phase != DONE:
            return True
        if when is None or saga.at(index).destination:
            return False
        wanted = call_rule(partial(when, *self._given(definition, saga)))
        if not isinstance(wanted, bool):
            raise RuleFailed(f"`when` of step `{definition.plan[index].name}` gives {wanted!r}, not True or False")
        return not wanted

    def command(self, saga_id: str, saga: SagaState, definition: Definition, *, move: Move) -> SagaCommandIssued | None:
        """None if there is nothing to close with.  Raises `RuleFailed`."""
        step = saga.at(move.step)
        if step.phase == RESTING and step.awaited and step.sent:  # once more, the same: it has one effect
            destination, command_id, (type_name, payload) = step.destination, step.awaited, step.sent
        else:
            made = self._made(definition, saga, move)
            if made is None:
                return None
            type_name, payload = made.type_name, made.payload
            destination = self._destination(made)
            own = self._definitions.app.name
            known_as = saga_id if made.app == own else f"{own}/{saga_id}"  # others may have a saga of this name, too
            command_id = command_id_of(known_as, saga.instance, move, attempt=_attempt(saga, move))
        record = SagaCommandIssued(
            saga_id=saga_id,
            step=move.step,
            role=SagaCommandRole.ValueType(move.role),
            destination=destination,
            no=self._outbox.box(destination).last_no + 1,
            command_id=command_id,
            type=type_name,
            payload=payload,
            attempt=_attempt(saga, move),
        )
        if move.role == COMPENSATION and step.given_up:
            if destination != step.destination and step.role == FORWARD:
                # Only the log that holds the forward command makes sure that it is decided before its compensation.
                name = definition.plan[move.step].name
                raise RuleFailed(f"step `{name}` may time out, so its compensation must have the key of its command")
            record.compensates = step.given_up
        return record

    def undone_in_its_log(self, saga: SagaState, definition: Definition, index: int) -> bool:
        """Whether the compensation of a step that was asked for goes to the log of its command."""
        try:
            made = self._made(definition, saga, Move(COMPENSATION, index))
        except RuleFailed:
            return True  # nobody knows; it parks when it is asked for, until the rule is mended
        return made is not None and self._destination(made) == saga.at(index).destination

    def _destination(self, made: Made) -> str:
        return f"{made.app}-commands-{partition_of(made.key, self._counts[made.app])}"

    def _made(self, definition: Definition, saga: SagaState, move: Move) -> Made | None:
        trigger, data = self._given(definition, saga)
        if move.role == CLOSING:
            told = definition.saga
            closing = partial(told.completed, trigger) if saga.status == RUNNING else partial(told.failed, trigger)
            make = closing if saga.status == RUNNING else partial(closing, saga.reason)
        else:
            planned = definition.plan[move.step]
            rule = planned.command if move.role == FORWARD else planned.compensation
            assert rule is not None, "a step without a compensation is not undone"
            make = partial(rule, trigger, data)
        made = self._definitions.command(make)
        if made is None and move.role != CLOSING:
            raise RuleFailed(f"step `{definition.plan[move.step].name}` makes no command")
        return made

    def _given(self, definition: Definition, saga: SagaState) -> tuple[Message, Any]:
        """What every rule is given: the event that started the saga, and a copy of its data."""
        return self._definitions.event(saga.trigger_type, saga.trigger), definition.data(saga.data)


def _attempt(saga: SagaState, move: Move) -> int:
    """How often it was asked for before in this role."""
    step = saga.at(move.step)
    return step.attempt + 1 if step.role == move.role and step.destination else 0


def command_id_of(saga_id: str, instance: str, move: Move, *, attempt: int = 0) -> str:
    """The id that follows from saga, step and attempt; the same one whoever computes it."""
    tail = f":{instance}:{move.step}{_LETTER[SagaCommandRole.ValueType(move.role)]}{attempt or ''}"
    found = f"{COMMAND_ID_PREFIX}{saga_id}{tail}"
    if len(found.encode()) <= MAX_COMMAND_ID_BYTES and not CONTROL_CHARACTER.search(found):
        return found
    return f"{COMMAND_ID_PREFIX}{hashlib.blake2b(saga_id.encode(), digest_size=12).hexdigest()}{tail}"
