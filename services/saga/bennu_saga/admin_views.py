"""Sagas as operators see them: in a list, one in full, and what a filter lets through."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from bennu.errors import RecordBroken
from bennu.v1.saga_admin_pb2 import (
    SAGA_STANDING_COMPENSATING,
    SAGA_STANDING_COMPENSATION_FAILED,
    SAGA_STANDING_PARKED,
    SAGA_STANDING_RUNNING,
    SagaFilter,
    SagaStanding,
    SagaStepPhase,
    SagaStepView,
    SagaSummary,
    SagaView,
)
from bennu.v1.saga_pb2 import SagaCommandRole
from bennu_saga.admin_words import explain
from bennu_saga.definitions import Definition, Definitions, RuleFailed
from bennu_saga.requests import seen_of
from bennu_saga.state import (
    COMPENSATION,
    COMPENSATION_FAILED,
    READY,
    RUNNING,
    UNDER_WAY,
    SagaState,
    StepState,
)
from bennu_saga.stuck import is_stuck

_FIRST_PHASE = SagaStepPhase.SAGA_STEP_PHASE_READY
"""Phases have the same order here as in `state.py`."""


class Look(NamedTuple):
    """At sagas, at one moment of journaled time."""

    definitions: Definitions
    now_us: int

    def summary(self, saga_id: str, saga: SagaState) -> SagaSummary:
        """A line of a list."""
        definition = self.definition_of(saga)
        at = [index for index in _indexes(saga) if saga.at(index).phase in UNDER_WAY or _is_failing(saga, index)]
        dues = [step.due_at_us for step in saga.steps if step.due_at_us]
        return SagaSummary(
            saga_id=saga_id,
            definition=saga.definition,
            version=saga.version,
            standing=standing_of(saga),
            stuck=self.is_stuck(saga),
            started_at_us=saga.started_at_us,
            steps=[_name(definition, index) for index in at],
            attempts=max((_attempts(saga.at(index)) for index in at), default=0),
            due_at_us=min(dues, default=0) if not saga.parked else 0,
            reason=saga.parked or saga.reason,
        )

    def view(self, saga_id: str, saga: SagaState) -> SagaView:
        """All that is known of one; where it stands is for the caller to add."""
        definition = self.definition_of(saga)
        count = max(len(saga.steps), len(definition.plan) if definition else 0)
        return SagaView(
            summary=self.summary(saga_id, saga),
            steps=[_step(_name(definition, index), saga.at(index)) for index in range(count)],
            explanation=self.explain(saga_id, saga),
            instance=saga.instance,
            trigger_type=saga.trigger_type,
            trigger_json=self._trigger(saga),
            data_json=_data(definition, saga),
            traceparent=saga.traceparent,
            service_level_ms=definition.saga.service_level_ms if definition else 0,
            seen=seen_of(saga),
            now_us=self.now_us,
        )

    def explain(self, saga_id: str, saga: SagaState) -> str:
        """See `admin_words`."""
        return explain(saga_id, saga, self.definition_of(saga), now_us=self.now_us)

    def is_stuck(self, saga: SagaState) -> bool:
        """Whether it takes longer than its definition says."""
        definition = self.definition_of(saga)
        return definition is not None and is_stuck(saga, definition.saga.service_level_ms, self.now_us)

    def definition_of(self, saga: SagaState) -> Definition | None:
        """What it began with; None where this build does not declare it."""
        return self.definitions.get(saga.definition, saga.version)

    def passes(self, wanted: SagaFilter) -> Callable[[str, SagaState], bool]:
        """Whether all that a filter says holds for a saga."""
        standings = frozenset(wanted.standings)
        started_before_us = self.now_us - wanted.older_than_ms * 1000

        def holds(saga_id: str, saga: SagaState) -> bool:
            return (
                wanted.definition in ("", saga.definition)
                and wanted.version in (0, saga.version)
                and (not standings or standing_of(saga) in standings)
                and (not wanted.stuck or self.is_stuck(saga))
                and (not wanted.older_than_ms or saga.started_at_us <= started_before_us)
                and any(text.startswith(wanted.id_prefix) for text in (saga_id, saga_id.partition(":")[2]))
                and (not wanted.failing_step or wanted.failing_step in self._failing(saga))
            )

        return holds

    def _failing(self, saga: SagaState) -> list[str]:
        definition = self.definition_of(saga)
        return [_name(definition, index) for index in _indexes(saga) if _is_failing(saga, index)]

    def _trigger(self, saga: SagaState) -> str:
        try:
            event = self.definitions.event(saga.trigger_type, saga.trigger)
        except (DecodeError, RecordBroken):
            return ""
        return json_format.MessageToJson(event, preserving_proto_field_name=True, indent=None)


def standing_of(saga: SagaState) -> SagaStanding.ValueType:
    """What it is to an operator."""
    if saga.status == COMPENSATION_FAILED:
        return SAGA_STANDING_COMPENSATION_FAILED
    if saga.parked:
        return SAGA_STANDING_PARKED
    return SAGA_STANDING_RUNNING if saga.status == RUNNING else SAGA_STANDING_COMPENSATING


def _indexes(saga: SagaState) -> range:
    """Of steps that something is known of: one that it is parked at may not have begun."""
    return range(max(len(saga.steps), saga.parked_step + 1))


def _is_failing(saga: SagaState, index: int) -> bool:
    """It is parked there; or the step's command was refused, or not answered, and that is not settled."""
    if saga.parked and saga.parked_step == index:
        return True
    step = saga.at(index)
    if step.phase == READY:
        return saga.status == COMPENSATION_FAILED and step.role == COMPENSATION
    return step.phase in UNDER_WAY and bool(step.problem)


def _name(definition: Definition | None, index: int) -> str:
    if definition is None:
        return f"#{index}"
    return definition.plan[index].name if index < len(definition.plan) else ""


def _attempts(step: StepState) -> int:
    return step.attempt + 1 if step.since_us or step.destination else 0


def _step(name: str, step: StepState) -> SagaStepView:
    asked = _attempts(step) > 0
    return SagaStepView(
        name=name,
        phase=SagaStepPhase.ValueType(_FIRST_PHASE + step.phase),
        role=SagaCommandRole.ValueType(step.role) if asked else SagaCommandRole.SAGA_COMMAND_ROLE_UNSPECIFIED,
        attempts=_attempts(step),
        problem=step.problem,
        since_us=step.since_us,
        due_at_us=step.due_at_us,
        awaited=step.awaited,
        destination=step.destination,
    )


def _data(definition: Definition | None, saga: SagaState) -> str:
    if definition is None or not saga.data:
        return ""
    try:
        return msgspec.json.encode(definition.data(saga.data)).decode()
    except (RuleFailed, msgspec.MsgspecError, TypeError):
        return ""
