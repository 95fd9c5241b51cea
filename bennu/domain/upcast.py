"""Events are for ever; what they mean now is said in one place: functions from an old message to a newer one."""

from collections.abc import Callable
from typing import Any, TypeVar

Upcaster = TypeVar("Upcaster", bound=Callable[[Any], Any])


def upcasts(function: Upcaster) -> Upcaster:
    """Mark `(old: OldEvent) -> NewEvent`; chains are followed, so each version needs only the step to the next."""
    setattr(function, "__bennu__", "upcasts")  # noqa: B010 - functions have no such declared attribute
    return function
