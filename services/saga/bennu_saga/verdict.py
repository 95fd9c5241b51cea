"""What an answer means to the step that waits for it, and when a step is asked for again.  Pure."""

import hashlib
from typing import NamedTuple

from bennu.domain.messages import name_of
from bennu.domain.plan import Plan, PlannedStep
from bennu.domain.saga import Retry
from bennu.v1.saga_pb2 import SagaAnswerMeaning
from bennu.wire.reasons import NOTHING_TO_COMPENSATE, OUTCOME_FORGOTTEN, named
from bennu_saga.signals import Answer
from bennu_saga.state import (
    AWAITS_EVENT,
    CLOSING,
    COMPENSATION,
    OPEN,
    RUNNING,
    SagaState,
    StepState,
)

SETTLED = SagaAnswerMeaning.SAGA_ANSWER_MEANING_UNSPECIFIED
FINAL = frozenset({NOTHING_TO_COMPENSATE, OUTCOME_FORGOTTEN})
"""Refusals of a compensation that no further asking would change."""
NEVER = Retry(limit=0)


class Verdict(NamedTuple):
    """For the record of the answer, and for what follows."""

    accepted: bool
    reason: str = ""
    meaning: SagaAnswerMeaning.ValueType = SETTLED
    retried: bool = False
    parked: str = ""


def verdict_on(answer: Answer, saga: SagaState, plan: Plan, *, index: int) -> Verdict:
    """What becomes of the step with this index by this answer."""
    step = saga.steps[index]
    if step.role == CLOSING:
        return Verdict(answer.accepted, answer.reason)
    if answer.unknown:
        why = f"the answer to {answer.command_id} holds {answer.unknown}, which this build does not know"
        return Verdict(answer.accepted, parked=why)
    if answer.accepted:
        return _accepted(answer, plan[index]) if step.role != COMPENSATION else Verdict(accepted=True)
    return _refused(answer.reason, saga, plan, index=index)


def _accepted(answer: Answer, planned: PlannedStep) -> Verdict:
    for message in planned.refusal:
        if name_of(message) in answer.types:
            return Verdict(accepted=False, reason=message.DESCRIPTOR.name)
    if not planned.success or any(name_of(message) in answer.types for message in planned.success):
        return Verdict(accepted=True)
    return Verdict(accepted=True, meaning=AWAITS_EVENT)


def _refused(reason: str, saga: SagaState, plan: Plan, *, index: int) -> Verdict:
    step, planned = saga.steps[index], plan[index]
    if step.role == COMPENSATION and reason in FINAL:
        return Verdict(accepted=False, reason=reason)
    again = step.role == COMPENSATION or planned.forward_only or named(reason) in planned.retry.reasons
    if again and step.refusals < retry_of(saga, plan, index).limit:
        return Verdict(accepted=False, reason=reason, meaning=OPEN, retried=True)
    if step.role != COMPENSATION and planned.forward_only:
        why = f"step `{planned.name}` was refused {step.refusals + 1} times, the last time with {reason or 'no reason'}"
        return Verdict(accepted=False, reason=reason, meaning=OPEN, parked=why)
    return Verdict(accepted=False, reason=reason)


def retry_of(saga: SagaState, plan: Plan, index: int) -> Retry:
    """How often what the step does now is asked for again; never, once others are being undone."""
    step, planned = saga.steps[index], plan[index]
    if step.role == COMPENSATION:
        return planned.undo_retry
    return planned.retry if saga.status == RUNNING else NEVER


def retry_due_us(saga_id: str, saga: SagaState, plan: Plan, *, index: int, now_us: int) -> int:
    """When to ask again: twice the last pause, up to the limit, times 0.5 to 1.5 by chance that all replicas share."""
    retry, step = retry_of(saga, plan, index), saga.steps[index]
    pause_ms = min(retry.max_ms, retry.first_ms << min(step.attempt, 30))
    return now_us + int(pause_ms * 1000 * (0.5 + _chance(saga_id, saga, index, step=step)))


def _chance(saga_id: str, saga: SagaState, index: int, *, step: StepState) -> float:
    """From 0 to 1, from what is in the records."""
    seed = f"{saga_id}\0{saga.instance}\0{index}\0{step.role}\0{step.attempt}".encode()
    return int.from_bytes(hashlib.blake2b(seed, digest_size=4).digest()) / 2**32
