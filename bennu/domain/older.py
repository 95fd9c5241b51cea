"""Older forms of states, as snapshots may hold them, and how each becomes what the state is now.

    class AccountV1(State):                 # as it was, field by field
        balance: int = 0

    class Account(State):                   # as it is
        state_version: ClassVar[int] = 2
        balance_minor: int = 0

    @upcasts
    def account(old: AccountV1) -> Account:
        return Account(balance_minor=old.balance * 100)

    App(..., state_upcasters=[account])

Only snapshots hold states, and they are a cache: one of a version that no chain of these leads from is passed over.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard, get_type_hints

from bennu.domain.aggregate import State, check_defaults
from bennu.errors import BadSettings

StateUpcaster = Callable[[Any], State]


class Step(NamedTuple):
    """One upcaster: from one version of a state to a newer one."""

    old: type[State]
    new: type[State]
    function: StateUpcaster


class Older(NamedTuple):
    """An older version of a state, and all the way from it to the newest."""

    state: type[State]
    upcast: StateUpcaster


def older_versions(states: Sequence[type[State]], upcasters: Sequence[StateUpcaster]) -> list[dict[int, Older]]:
    """By state, and by version: what can be upcast to it.  Raises `BadSettings`, naming what can't work."""
    steps: dict[type[State], Step] = {}
    for step in map(_step, upcasters):
        if step.old in states or step.old in steps:
            raise BadSettings(f"{step.old.__qualname__} is upcast, so it can be no aggregate's state, nor upcast twice")
        steps[step.old] = step
    found: dict[type[State], dict[int, Older]] = {state: {} for state in states}
    for step in steps.values():
        newest, upcast = _whole_way(step, steps)
        if newest not in found:
            raise BadSettings(f"{step.old.__qualname__} is upcast to {newest.__qualname__}, which no aggregate has")
        if step.old.state_version in found[newest]:
            raise BadSettings(f"{newest.__qualname__} has two older states of version {step.old.state_version}")
        found[newest][step.old.state_version] = Older(step.old, upcast)
    return [found[state] for state in states]


def _step(function: StateUpcaster) -> Step:
    where = getattr(function, "__qualname__", repr(function))
    parameters, hints = list(inspect.signature(function).parameters), get_type_hints(function)
    old, new = hints.get(parameters[0]) if len(parameters) == 1 else None, hints.get("return")
    if not (_is_state(old) and _is_state(new)):
        raise BadSettings(f"{where}: an upcaster of states is `(old: OldState) -> NewState`, annotated with both")
    check_defaults(old)
    if old.state_version >= new.state_version:
        raise BadSettings(
            f"{where}: upcasts {old.__qualname__} of version {old.state_version} to {new.__qualname__} of version "
            f"{new.state_version}; a newer state has a greater state_version"
        )
    return Step(old, new, function)


def _is_state(found: Any) -> TypeGuard[type[State]]:  # noqa: ANN401 - any annotation
    return inspect.isclass(found) and issubclass(found, State)


def _whole_way(step: Step, steps: Mapping[type[State], Step]) -> tuple[type[State], StateUpcaster]:
    """The state at the end of the chain, and the function that leads there.  Versions rise, so it has an end."""
    upcast, newest = step.function, step.new
    while newest in steps:
        upcast, newest = _then(upcast, steps[newest].function), steps[newest].new
    return newest, upcast


def _then(first: StateUpcaster, second: StateUpcaster) -> StateUpcaster:
    return lambda old: second(first(old))
