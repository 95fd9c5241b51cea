"""The sagas of an app, checked when they are loaded and compiled for dispatch."""

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

from google.protobuf.message import Message

from bennu.domain.app import App, CommandRule
from bennu.domain.messages import name_of, returned_types
from bennu.domain.saga import Saga, Step
from bennu.errors import BadSettings, RecordBroken
from bennu.limits import MAX_COMMAND_BYTES
from bennu_saga.limits import MAX_REASON_CHARS


class RuleFailed(Exception):
    """A saga's declaration could not say what comes next."""


class Definition(NamedTuple):
    """A saga's declaration, and the type of event that starts it."""

    name: str
    version: int
    trigger_type: str
    saga: Saga[Any]

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.saga.steps


class Definitions:
    """All sagas of `app`.  Raises `BadSettings`, naming the saga, for what can't work."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.by_trigger: dict[str, list[Definition]] = {}
        self._by_name: dict[tuple[str, int], Definition] = {}
        for saga in app.sagas:
            self._add(saga)
        if not app.sagas:
            raise BadSettings(f"app `{app.name}` declares no sagas, so there is nothing for this service to do")

    def _add(self, saga: Saga[Any]) -> None:
        name, trigger_type = type(saga).__qualname__, name_of(_trigger_of(type(saga)))
        if trigger_type not in self.app.events:
            raise BadSettings(f"{name} is started by {trigger_type}, which is no event of app `{self.app.name}`")
        if (name, saga.version) in self._by_name:
            raise BadSettings(f"two sagas of app `{self.app.name}` are called {name}")
        for rule in (made for step in saga.steps for made in (step.command, step.compensation) if made):
            self._check_command(name, rule)
        self._check_command(name, saga.completed)
        self._check_command(name, saga.failed)
        definition = Definition(name, saga.version, trigger_type, saga)
        self._by_name[name, saga.version] = definition
        self.by_trigger.setdefault(trigger_type, []).append(definition)

    def _check_command(self, name: str, rule: Callable[..., Any]) -> None:
        if not hasattr(rule, "__annotations__"):
            return  # a callable object: what it makes is checked when it is made
        for message in returned_types(rule):
            if message is not Message and name_of(message) not in self.app.commands:
                made_by = getattr(rule, "__qualname__", repr(rule))
                raise BadSettings(f"{name}: {made_by} makes {name_of(message)}, no command of app `{self.app.name}`")

    def get(self, name: str, version: int) -> Definition | None:
        """The definition that a journaled saga began with."""
        return self._by_name.get((name, version))

    def event(self, type_name: str, raw: bytes) -> Message:
        """The event in these bytes, by its newest type.  Raises `RecordBroken` for one the app does not know."""
        upcast = self.app.upcasts.get(type_name)
        if upcast is not None:
            newer = upcast.function(upcast.message.FromString(raw))
            return self.event(newer.DESCRIPTOR.full_name, newer.SerializeToString())
        rule = self.app.events.get(type_name)
        if rule is None:
            raise RecordBroken(f"event type {type_name} is not known to app `{self.app.name}`")
        return rule.message.FromString(raw)

    def command(self, make: Callable[[], Message | None]) -> tuple[CommandRule, Message, bytes] | None:
        """What a declaration makes, with its rule and bytes; None if nothing.  Raises `RuleFailed`."""
        made = call_rule(make)
        if made is None:
            return None
        rule = self.app.commands.get(made.DESCRIPTOR.full_name) if isinstance(made, Message) else None
        if rule is None:
            raise RuleFailed(f"{type(made).__name__} is no command of app `{self.app.name}`")
        payload = made.SerializeToString()
        if len(payload) > MAX_COMMAND_BYTES:
            raise RuleFailed(f"{rule.type_name} has {len(payload)} bytes; at most {MAX_COMMAND_BYTES} are taken")
        return rule, made, payload


def call_rule(rule: Callable[[], Any]) -> Any:  # noqa: ANN401 - what a domain's rule returns is checked by the caller
    """What a rule of the domain returns.  Raises `RuleFailed` whatever it raises: the other sagas go on."""
    try:
        return rule()
    except Exception as error:  # a domain's rule may raise anything
        raise RuleFailed(f"{type(error).__name__}: {error}"[:MAX_REASON_CHARS]) from error


def _trigger_of(saga: type[Saga[Any]]) -> type[Message]:
    for base in saga.__mro__:
        for generic in vars(base).get("__orig_bases__", ()):
            for argument in get_args(generic):
                if isinstance(argument, type) and issubclass(argument, Message):
                    return argument
    raise BadSettings(f"{saga.__qualname__} must derive from Saga[TheEventThatStartsIt]")
