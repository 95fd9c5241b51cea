"""The sagas of an app, checked when they are loaded and compiled for dispatch."""

import inspect
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from types import MethodType
from typing import Any, NamedTuple

import msgspec
from google.protobuf.message import Message

from bennu.domain.aggregate import State, check_defaults
from bennu.domain.app import App, Upcast
from bennu.domain.messages import input_type, name_of, returned_types, rules_of
from bennu.domain.plan import Plan, PlannedStep, as_declared, makers, plan_of
from bennu.domain.saga import Saga, trigger_of
from bennu.errors import BadSettings, RecordBroken
from bennu.limits import MAX_COMMAND_BYTES
from bennu.replica.fold import Failed, nobody_hears
from bennu_saga.limits import MAX_KEY_BYTES, MAX_REASON_CHARS


class RuleFailed(Exception):
    """A saga's declaration could not say what comes next."""


class Definition(NamedTuple):
    """A saga's declaration, its plan, and the type of event that starts it."""

    name: str
    version: int
    trigger_type: str
    saga: Saga[Any]
    plan: Plan
    hears: Mapping[str, Callable[[Any, Message], None]]
    """What events of answers change in its data, by type."""

    def data(self, raw: bytes) -> State:
        """Its data in these bytes; what it begins with if there are none.  Raises `RuleFailed` if they are no such."""
        try:
            return msgspec.msgpack.decode(raw, type=self.saga.data) if raw else self.saga.data()
        except msgspec.MsgspecError as error:
            raise RuleFailed(f"its data is no {self.saga.data.__qualname__}: {error}") from error

    def after(self, data: State, event: Message) -> State:
        """The data once this event was heard.  Raises `RuleFailed`."""
        if rule := self.hears.get(event.DESCRIPTOR.full_name):
            call_rule(partial(rule, data, event))
        return data


class Listening(NamedTuple):
    """A step that is carried out, or refused, by an event that names its saga."""

    definition: Definition
    step: int
    accepted: bool
    key: Callable[[Any], str]


class Made(NamedTuple):
    """A command that a declaration made, and whose it is."""

    app: str
    key: str
    type_name: str
    payload: bytes


class Definitions:
    """All sagas of `app`.  Raises `BadSettings`, naming the saga, for what can't work.

    Of one name there may be several versions: new sagas start with the newest, the others end what began with them.
    """

    def __init__(self, app: App, failed: Failed = nobody_hears) -> None:
        """`failed` hears of rules that raise, see `told_of`."""
        self.app = app
        self._failed = failed
        self._whose = ("app " if len(app.apps) == 1 else "apps ") + ", ".join(f"`{each.name}`" for each in app.apps)
        self._commands = {name: (each.name, rule) for each in app.apps for name, rule in each.commands.items()}
        self._events = {name: rule for each in app.apps for name, rule in each.events.items()}
        self._upcasts = {name: step for each in app.apps for name, step in each.upcasts.items()}
        self.by_trigger: dict[str, list[Definition]] = {}
        self.listening: defaultdict[str, list[Listening]] = defaultdict(list)
        """Steps that wait for events, by the type of the event."""
        self.heard: set[str] = set()
        """Types of events that change some saga's data, or decide a step, if they come with its answer."""
        self._by_name: dict[tuple[str, int], Definition] = {}
        for saga in app.sagas:
            self._add(saga)
        if not app.sagas:
            raise BadSettings(f"app `{app.name}` declares no sagas, so there is nothing for this service to do")

    def _add(self, saga: Saga[Any]) -> None:
        name, trigger_type = type(saga).__qualname__, name_of(trigger_of(type(saga)))
        if trigger_type not in self._events:
            raise BadSettings(f"{name} is started by {trigger_type}, which is no event of {self._whose}")
        if (name, saga.version) in self._by_name:
            raise BadSettings(f"two sagas of app `{self.app.name}` are called {name}, version {saga.version}")
        plan = plan_of(type(saga))
        for rule in makers(plan):
            self._check_command(name, rule)
        self._check_command(name, saga.completed)
        self._check_command(name, saga.failed)
        for step in plan:
            self._check_one_log(name, step)
        definition = Definition(name, saga.version, trigger_type, saga, plan, self._hears(saga))
        self._by_name[name, saga.version] = definition
        self._listen(definition)
        newest = max((d for d in self._by_name.values() if d.name == name), key=lambda d: d.version)
        for started in self.by_trigger.values():
            started[:] = [other for other in started if other.name != name]
        self.by_trigger.setdefault(newest.trigger_type, []).append(newest)

    def _hears(self, saga: Saga[Any]) -> Mapping[str, Callable[[Any, Message], None]]:
        kind, found = type(saga), {}
        check_defaults(saga.data)
        for name, rule in rules_of(kind, "hears"):
            event = name_of(input_type(kind, name, rule))
            self._check_event(f"{kind.__qualname__}.{name}", event)
            if saga.data is State:
                raise BadSettings(f"{kind.__qualname__}.{name} has nothing to change: the saga declares no `data`")
            found[event] = MethodType(rule, saga)
        self.heard |= found.keys()
        return found

    def _listen(self, definition: Definition) -> None:
        for index, step in enumerate(definition.plan):
            for accepted, events in ((True, step.success), (False, step.refusal)):
                for event, key in events.items():
                    self._check_event(f"{definition.name}, step `{step.name}`", name_of(event))
                    self.listening[name_of(event)].append(Listening(definition, index, accepted, key))
                    self.heard.add(name_of(event))

    def _check_event(self, where: str, event: str) -> None:
        if event not in self._events:
            raise BadSettings(f"{where} hears {event}, which is no event of {self._whose}")

    def _check_command(self, name: str, rule: Callable[..., Any]) -> None:
        if not (inspect.isfunction(rule) or inspect.ismethod(rule)):
            return  # a callable object: what it makes is checked when it is made
        for message in returned_types(rule):
            if message is not Message and name_of(message) not in self._commands:
                made_by = getattr(rule, "__qualname__", repr(rule))
                raise BadSettings(f"{name}: {made_by} makes {name_of(message)}, no command of {self._whose}")

    def _check_one_log(self, name: str, step: PlannedStep) -> None:
        """Only the log that holds a command that is given up makes sure that its compensation is decided after it."""
        if not (step.timeout_ms and step.compensation):
            return
        forward, back = self._apps_of(step.command), self._apps_of(step.compensation)
        if forward and back and forward.isdisjoint(back):
            raise BadSettings(
                f"{name}: step `{step.name}` may time out, so its compensation must go to the app of its command, "
                f"`{min(forward)}`, not to `{min(back)}`"
            )

    def _apps_of(self, rule: Callable[[Any, Any], Any]) -> set[str]:
        """Where what it makes goes to; none if it does not say what it makes."""
        declared = as_declared(rule)
        if not (inspect.isfunction(declared) or inspect.ismethod(declared)):
            return set()
        return {self._commands[name_of(made)][0] for made in returned_types(declared) if made is not Message}

    def told_of(self, failed: RuleFailed, *, definition: str, saga_id: str) -> None:
        """Say what a rule raised, or gave that it may not; for whoever catches it, who alone knows whose it is."""
        cause = failed.__cause__
        self._failed(definition, saga_id, cause if isinstance(cause, Exception) else failed)

    def get(self, name: str, version: int) -> Definition | None:
        """The definition that a journaled saga began with."""
        return self._by_name.get((name, version))

    def knows(self, type_name: str) -> bool:
        """Whether an app has this event, of old or today."""
        return type_name in self._events or type_name in self._upcasts

    def event(self, type_name: str, raw: bytes) -> Message:
        """The event in these bytes, by its newest type.

        Raises `RecordBroken` for one that no app knows or that can't be upcast, `DecodeError` for what is no message.
        """
        upcast = self._upcasts.get(type_name)
        if upcast is not None:
            newer = self._newer(upcast, raw)
            return self.event(newer.DESCRIPTOR.full_name, newer.SerializeToString())
        rule = self._events.get(type_name)
        if rule is None:
            raise RecordBroken(f"event type {type_name} is not known to {self._whose}")
        return rule.message.FromString(raw)

    def _newer(self, upcast: Upcast, raw: bytes) -> Message:
        old = upcast.message.FromString(raw)
        try:
            newer = call_rule(partial(upcast.function, old))
        except RuleFailed as failed:
            raise RecordBroken(f"event type {name_of(upcast.message)} can't be upcast: {failed}") from failed
        assert isinstance(newer, Message), "an upcaster gives a message"
        return newer

    def command(self, make: Callable[[], Message | None]) -> Made | None:
        """What a declaration makes; None if nothing.  Raises `RuleFailed`."""
        made = call_rule(make)
        if made is None:
            return None
        found = self._commands.get(made.DESCRIPTOR.full_name) if isinstance(made, Message) else None
        if found is None:
            raise RuleFailed(f"{type(made).__name__} is no command of {self._whose}")
        app, rule = found
        payload = made.SerializeToString()
        if len(payload) > MAX_COMMAND_BYTES:
            raise RuleFailed(f"{rule.type_name} has {len(payload)} bytes; at most {MAX_COMMAND_BYTES} are taken")
        return Made(app, rule.key(made), rule.type_name, payload)


def key_of(rule: Callable[[Any], str], event: Message) -> str:
    """The key of a saga in `event`.  Raises `RuleFailed` for what can't be one."""
    key = call_rule(partial(rule, event))
    if not isinstance(key, str) or not key:
        raise RuleFailed("key() must give a text that is not empty")
    size = len(call_rule(key.encode))  # a lone surrogate has no bytes
    if size > MAX_KEY_BYTES:
        raise RuleFailed(f"key() gives a text of {size} bytes; at most {MAX_KEY_BYTES} are taken")
    return key


def call_rule(rule: Callable[[], Any]) -> Any:  # noqa: ANN401 - what a domain's rule returns is checked by the caller
    """What a rule of the domain returns.  Raises `RuleFailed` whatever it raises: the other sagas go on."""
    try:
        return rule()
    except Exception as error:  # a domain's rule may raise anything
        raise RuleFailed(_said(error)) from error


def _said(error: Exception) -> str:
    """Text that a record can hold, of an error that need not even be printable."""
    text = "".join(traceback.format_exception_only(error)).strip()
    return text[:MAX_REASON_CHARS].encode(errors="backslashreplace").decode()
