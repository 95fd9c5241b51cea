"""A saga: a long transaction over several aggregates, declared as steps.

    class TransferSaga(Saga[TransferRequested]):
        steps = (
            Step("withdraw", withdraw, compensation=reverse, timeout_ms=30_000),
            Step("deposit", deposit),
        )

Steps run one after another.  When one is refused, the ones before it are compensated, last first; then the initiator
hears the end by a closing command.  The last step is the pivot: it needs no compensation, and so no timeout, for
there is nothing left to undo once it is carried out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from google.protobuf.message import Message

from bennu.errors import BadSettings

T = TypeVar("T", bound=Message)

COMMAND_ID_PREFIX = "saga:"
"""The ids of all commands that sagas issue begin so, and nobody else's may: who used one first would answer for it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One forward command and what undoes it.  Both are made from the event that started the saga."""

    name: str
    command: Callable[[Any], Message]
    compensation: Callable[[Any], Message] | None = None
    timeout_ms: int = 0
    """Journaled time after which the step is given up and compensated; 0 waits for ever."""


class Saga(Generic[T]):
    """Base of a saga's declaration.  `key` names the saga; `completed` and `failed` make the closing command."""

    version: ClassVar[int] = 1
    steps: ClassVar[tuple[Step, ...]] = ()

    def key(self, trigger: T) -> str:
        """Identity of the saga that `trigger` starts; the same trigger must give the same key."""
        raise BadSettings(f"{type(self).__qualname__} must define key()")

    def completed(self, trigger: T) -> Message | None:
        """Command that tells the initiator; None tells nobody."""
        return None

    def failed(self, trigger: T, reason: str) -> Message | None:
        """Command that tells the initiator that all is undone, and why; None tells nobody."""
        return None


def check_steps(saga: type[Saga[Any]]) -> None:
    """Raise `BadSettings` naming the step that could leave a saga half done."""
    where = saga.__qualname__
    if not saga.steps:
        raise BadSettings(f"{where}: a saga needs at least one step")
    names = [step.name for step in saga.steps]
    if len(set(names)) != len(names):
        raise BadSettings(f"{where}: step names must differ, found {names}")
    for step in saga.steps[:-1]:
        if step.compensation is None:
            raise BadSettings(f"{where}: step `{step.name}` has no compensation, but a later step may be refused")
    for step in saga.steps:
        if step.timeout_ms and step.compensation is None:
            raise BadSettings(f"{where}: step `{step.name}` may time out, so it needs a compensation")
