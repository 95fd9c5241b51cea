"""The projection of an app's saga journals: what each record changes in the tables of `saga_tables`.

A record names a saga, a step or a command, and nothing of what was said of it before.  So a row shows what was said
last, and what depends on more than one record is computed in the row (`status`) or follows from the id of a command,
which names instance, step, role and attempt.  How a saga goes on is decided in Saga alone, and known there alone.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from bennu.domain import App, EventMeta, Projection, Rows, projects
from bennu.domain.plan import Plan, plan_of
from bennu.domain.projection import Value
from bennu.v1.saga_pb2 import (
    SagaAnswerMeaning,
    SagaCommandAnswered,
    SagaCommandIssued,
    SagaCommandRole,
    SagaEnded,
    SagaEventHeard,
    SagaOperated,
    SagaOperation,
    SagaParked,
    SagaRetryScheduled,
    SagaRuleFailed,
    SagaStarted,
    SagaStatus,
    SagaStepLeftOut,
    SagaTimerFired,
)
from bennu.wire.reasons import NOTHING_TO_COMPENSATE, TIMED_OUT
from bennu_qserver.saga_tables import SAGA_COMMANDS, SAGA_STEPS, SAGAS
from bennu_qserver.values import LATEST_US

Changes = Mapping[str, Value]
"""Of a row, by column."""

FORWARD, COMPENSATION, CLOSING = "forward", "compensation", "closing"

_TAIL = re.compile(r":(?P<instance>[^:]+):(?P<step>\d+)(?P<letter>[fce])(?P<attempt>\d*)\Z")
_ROLES = {"f": FORWARD, "c": COMPENSATION, "e": CLOSING}


class CommandPlace(NamedTuple):
    """What the id of a saga's command says; see `bennu_saga.issuing.command_id_of`."""

    instance: str
    step: int
    role: str
    attempt: int


def place_of(command_id: str) -> CommandPlace | None:
    """Where in its saga a command belongs; None for an id that says nothing of it."""
    tail = _TAIL.search(command_id)
    if tail is None:
        return None
    return CommandPlace(tail["instance"], int(tail["step"]), _ROLES[tail["letter"]], int(tail["attempt"] or 0))


class SagaProjection(Projection):
    """The sagas of one app."""

    name = "sagas"
    tables = (SAGAS, SAGA_STEPS, SAGA_COMMANDS)

    def __init__(self, app: App) -> None:
        self._app = app
        self._plans: dict[tuple[str, int], Plan] = {
            (type(saga).__qualname__, saga.version): plan_of(type(saga)) for saga in app.sagas
        }

    @projects
    def started(self, record: SagaStarted, rows: Rows, meta: EventMeta) -> None:
        key = {"saga_id": record.saga_id}
        rows.delete("sagas", key)  # one of this id that ended
        rows.upsert(
            "sagas",
            key,
            instance=record.instance,
            definition=record.definition,
            version=record.version,
            correlation_id=record.correlation_id,
            causation_id=record.causation_id,
            trigger_type=record.trigger_type,
            trigger=self._json(record.trigger_type, record.trigger),
            partition=meta.partition,
            seq=meta.seq,
            started_at=meta.recorded_at_us,
            updated_at=meta.recorded_at_us,
        )
        for step, planned in enumerate(self._plans.get((record.definition, record.version), ())):
            row: Changes = {"instance": record.instance, "name": planned.name, **_UNTOUCHED}
            _step(rows, record.saga_id, meta, step=step, **row)

    @projects
    def issued(self, record: SagaCommandIssued, rows: Rows, meta: EventMeta) -> None:
        place, role = place_of(record.command_id), _role(record.role)
        instance, due_at = place.instance if place else "", _due(record.due_at_us)
        sending = {"no": record.no, "attempt": record.attempt, "due_at": due_at, "asked_at": meta.recorded_at_us}
        if place and record.attempt > place.attempt:  # sent before, with the same id
            rows.update("saga_commands", {"command_id": record.command_id}, **sending)
        else:
            rows.upsert(
                "saga_commands",
                {"command_id": record.command_id},
                saga_id=record.saga_id,
                instance=instance,
                step=record.step,
                role=role,
                type=record.type,
                payload=self._json(record.type, record.payload),
                destination=record.destination,
                compensates=record.compensates or None,
                issued_at=meta.recorded_at_us,
                **sending,
            )
        first = {"last_error": None} if role != COMPENSATION and not record.attempt else {}
        row = {"instance": instance, "role": role, "attempts": record.attempt + 1, "due_at": due_at, **first}
        row |= {"name": ""} if role == CLOSING else {}  # a longer plan's saga of this id may have had a step there
        _step(rows, record.saga_id, meta, step=record.step, phase="asked", awaited=record.command_id, **row)
        _saga(rows, record.saga_id, meta)

    @projects
    def answered(self, record: SagaCommandAnswered, rows: Rows, meta: EventMeta) -> None:
        answer: Changes = {"accepted": record.accepted, "reason": record.reason or None}
        rows.update("saga_commands", {"command_id": record.command_id}, answered_at=meta.recorded_at_us, **answer)
        _saga(rows, record.saga_id, meta, **_data(record.data))
        place = place_of(record.command_id)
        if place is None:
            return
        if record.meaning == SagaAnswerMeaning.SAGA_ANSWER_MEANING_AWAITS_EVENT:
            _step(rows, record.saga_id, meta, step=place.step, phase="awaits_event")
        elif record.meaning == SagaAnswerMeaning.SAGA_ANSWER_MEANING_OPEN:
            refused = {"phase": "refused", "last_error": record.reason or None}
            _step(rows, record.saga_id, meta, step=place.step, **refused, **_NOT_AWAITED)
        else:
            done = record.accepted or (place.role == COMPENSATION and record.reason == NOTHING_TO_COMPENSATE)
            refusal = "" if done else record.reason or "refused"
            _settle(rows, record.saga_id, meta, place=(place.step, place.role), refusal=refusal)

    @projects
    def heard(self, record: SagaEventHeard, rows: Rows, meta: EventMeta) -> None:
        refusal = "" if record.accepted else record.reason or "refused"
        _settle(rows, record.saga_id, meta, place=(record.step, FORWARD), refusal=refusal)
        _saga(rows, record.saga_id, meta, **_data(record.data))

    @projects
    def rests(self, record: SagaRetryScheduled, rows: Rows, meta: EventMeta) -> None:
        said = {"last_error": record.reason or None, "due_at": _due(record.due_at_us)}
        _step(rows, record.saga_id, meta, step=record.step, phase="resting", **said)
        _saga(rows, record.saga_id, meta)

    @projects
    def given_up(self, record: SagaTimerFired, rows: Rows, meta: EventMeta) -> None:
        if place := place_of(record.command_id):
            said = {"phase": "given_up", "last_error": TIMED_OUT}
            _step(rows, record.saga_id, meta, step=place.step, **said, **_NOT_AWAITED)
        _saga(rows, record.saga_id, meta, turned_back=True, reason=TIMED_OUT)

    @projects
    def left_out(self, record: SagaStepLeftOut, rows: Rows, meta: EventMeta) -> None:
        _step(rows, record.saga_id, meta, step=record.step, phase="left_out")
        _saga(rows, record.saga_id, meta)

    @projects
    def parked(self, record: SagaParked, rows: Rows, meta: EventMeta) -> None:
        _step(rows, record.saga_id, meta, step=record.step, last_error=record.reason)
        at = {"parked_step": record.step, "parked_at": meta.recorded_at_us}
        _saga(rows, record.saga_id, meta, parked=record.reason, **at)

    @projects
    def rule_failed(self, record: SagaRuleFailed, rows: Rows, meta: EventMeta) -> None:
        place = (record.step, _role(record.role))
        _settle(rows, record.saga_id, meta, place=place, refusal=record.reason or "refused")

    @projects
    def operated(self, record: SagaOperated, rows: Rows, meta: EventMeta) -> None:
        skipped = record.operation == SagaOperation.SAGA_OPERATION_SKIP
        if skipped:
            _step(rows, record.saga_id, meta, step=record.step, phase="skipped", **_NOT_AWAITED)
        if record.operation == SagaOperation.SAGA_OPERATION_COMPENSATE:
            _saga(rows, record.saga_id, meta, turned_back=True, reason=record.reason or None)
        goes_on = dict.fromkeys(("outcome", "ended_at", "parked", "parked_step", "parked_at"))
        _saga(rows, record.saga_id, meta, **goes_on, **_data(record.data))
        _saga(
            rows,
            record.saga_id,
            meta,
            operation=_word(SagaOperation.Name(record.operation), "SAGA_OPERATION_"),
            operated_step=record.step if skipped else None,
            operated_by=record.actor,
            operated_reason=record.reason,
            operated_at=meta.recorded_at_us,
        )

    @projects
    def ended(self, record: SagaEnded, rows: Rows, meta: EventMeta) -> None:
        outcome = _word(SagaStatus.Name(record.status), "SAGA_STATUS_")
        _saga(rows, record.saga_id, meta, outcome=outcome, reason=record.reason or None, ended_at=meta.recorded_at_us)

    def _json(self, type_name: str, raw: bytes) -> str | None:
        """A message of the app's, or of a participant's, as JSON; None if this build can't read it."""
        kind = next(filter(None, (app.message(type_name) for app in self._app.apps)), None)
        if kind is None:
            return None
        try:
            said = json_format.MessageToDict(kind.FromString(raw), preserving_proto_field_name=True)
            return msgspec.json.encode(said).decode()
        except (DecodeError, json_format.Error, TypeError, ValueError):  # such as an Any of a type that is not here
            return None


_NOT_AWAITED: Changes = {"awaited": None, "due_at": None}
_UNTOUCHED: Changes = {"phase": "waiting", "role": "", "attempts": 0, "last_error": None, **_NOT_AWAITED}


def _step(rows: Rows, saga_id: str, meta: EventMeta, *, step: int, **values: Value) -> None:
    rows.upsert("saga_steps", {"saga_id": saga_id, "step": step}, updated_at=meta.recorded_at_us, **values)


def _saga(rows: Rows, saga_id: str, meta: EventMeta, **values: Value) -> None:
    rows.update("sagas", {"saga_id": saga_id}, updated_at=meta.recorded_at_us, **values)


def _settle(rows: Rows, saga_id: str, meta: EventMeta, *, place: tuple[int, str], refusal: str) -> None:
    """A command of this step and role was carried out or, for a reason, was not."""
    step, role = place
    phase = "undone" if role == COMPENSATION else "done"
    if refusal:
        phase = phase if role == CLOSING else "refused"  # who can't be told is told no more
        _step(rows, saga_id, meta, step=step, last_error=refusal)
    _step(rows, saga_id, meta, step=step, phase=phase, role=role, **_NOT_AWAITED)
    turned_back: Changes = {"turned_back": True, "reason": refusal} if refusal and role == FORWARD else {}
    _saga(rows, saga_id, meta, **turned_back)


def _data(raw: bytes) -> Changes:
    """The saga's data as JSON, if the record has any."""
    if not raw:
        return {}
    try:
        return {"data": msgspec.json.encode(msgspec.msgpack.decode(raw)).decode()}
    except (msgspec.MsgspecError, RecursionError, TypeError, ValueError):  # such as an extension type
        return {"data": None}


def _role(role: SagaCommandRole.ValueType) -> str:
    return _word(SagaCommandRole.Name(role), "SAGA_COMMAND_ROLE_")


def _word(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()


def _due(due_at_us: int) -> int | None:
    """A timer's time as a column can hold it; None if there is none."""
    return min(due_at_us, LATEST_US) if due_at_us else None
