"""An app: one domain's aggregates, sagas and projections, checked when it is made and compiled for dispatch."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MethodType
from typing import Any, NamedTuple, TypeVar

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from bennu.domain.aggregate import Accepted, Aggregate, Context, Rejection, State, state_type
from bennu.domain.messages import input_type, key_of, name_of, returned_types, rules_of
from bennu.domain.older import Older, StateUpcaster, older_versions
from bennu.domain.ownership import owned_tables, plain_statements
from bennu.domain.plan import plan_of
from bennu.domain.projection import Projection
from bennu.domain.saga import Saga, check_key
from bennu.domain.scenario import Scenario
from bennu.errors import BadSettings

Decided = Message | Sequence[Message] | Accepted | Rejection
Decide = Callable[[Any, Message, Context], Decided]
PlainDecide = Callable[[Any, Message], Decided]
R = TypeVar("R")


class CommandRule(NamedTuple):
    """How one type of command is decided."""

    type_name: str
    message: type[Message]
    key: Callable[[Message], str]
    aggregate: int
    decide: Decide
    reply_type: str
    """What the rpc returns; empty for a command without an rpc, which comes by the command log only."""
    plain: PlainDecide | None = None
    """`decide` where that needs no context: making one and passing it on takes 0.4 us."""


class QueryRule(NamedTuple):
    """How one type of query is answered."""

    type_name: str
    message: type[Message]
    key: Callable[[Message], str]
    aggregate: int
    answer: Callable[[Any, Message], Message | Rejection]


class EventRule(NamedTuple):
    """How one type of event changes a state."""

    type_name: str
    message: type[Message]
    key: Callable[[Message], str]
    aggregate: int
    evolve: Callable[[Any, Message], None]


class Upcast(NamedTuple):
    """One step from an old message to a newer one."""

    message: type[Message]
    function: Callable[[Message], Message]


class AggregateKind(NamedTuple):
    """An aggregate's rules, the type of its state, and what that was in older versions."""

    name: str
    state: type[State]
    older: Mapping[int, Older]


class App:
    """A domain, ready to be run.  Raises `BadSettings`, naming the class and method, for what can't work."""

    def __init__(  # noqa: PLR0913 - a declaration: each part of a domain, by its name
        self,
        name: str,
        *,
        service: ServiceDescriptor,
        aggregates: Sequence[type[Aggregate[Any]]],
        sagas: Sequence[type[Saga[Any]]] = (),
        projections: Sequence[type[Projection]] = (),
        participants: Sequence["App"] = (),
        callers: Sequence[str] = (),
        scenarios: Sequence[Scenario] = (),
        upcasters: Sequence[Callable[[Any], Message]] = (),
        state_upcasters: Sequence[StateUpcaster] = (),
        example: Message | None = None,
    ) -> None:
        self.name = name
        self.example = example
        """A command or query that `bennu dev` shows how to send."""
        self.service = service
        self.methods: dict[str, MethodDescriptor] = {m.input_type.full_name: m for m in service.methods}
        states = [state_type(rules) for rules in aggregates]
        self.kinds = [
            AggregateKind(rules.__qualname__, state, older)
            for rules, state, older in zip(aggregates, states, older_versions(states, state_upcasters), strict=True)
        ]
        self.commands: dict[str, CommandRule] = {}
        self.queries: dict[str, QueryRule] = {}
        self.events: dict[str, EventRule] = {}
        self.upcasts: dict[str, Upcast] = {}
        for number, rules in enumerate(aggregates):
            self._add(number, rules)
        for function in upcasters:
            self._add_upcast(function)
        self._check_upcasts()
        self.known_events = self.events.keys() | self.upcasts.keys()
        """All that may stand in this app's journals."""
        for saga in sagas:
            check_key(saga)
            plan_of(saga)
        self.sagas = tuple(saga() for saga in sagas)
        self.apps = (self, *participants)
        """Those that its sagas command and hear: itself, and its participants."""
        self.callers = tuple(callers)
        """Names of the other apps whose sagas may command this one."""
        self._check_participants()
        self.scenarios = {scenario.name: scenario for scenario in scenarios}
        """What `bennu explore` lets sagas live through, by name."""
        self.projections = tuple(projection() for projection in projections)
        for declared in self.projections:
            owned_tables(declared, self.events)
            plain_statements(declared)
        self._check_methods()

    def _add(self, number: int, rules: type[Aggregate[Any]]) -> None:
        instance = rules()
        for name, rule in rules_of(rules, "evolves"):
            message = input_type(rules, name, rule)
            evolve = MethodType(rule, instance)  # a call costs half of what a `partial` does, and replay is such calls
            self._once(self.events, EventRule(name_of(message), message, key_of(message), number, evolve))
        for name, rule in rules_of(rules, "decides"):
            self._add_decision(rules, name, MethodType(rule, instance), number=number)
            self._check_events(rules, name, rule)
        for name, rule in rules_of(rules, "answers"):
            message = input_type(rules, name, rule)
            self._check_view(rules, name, rule)
            answer = partial(rule, instance)
            self._once(self.queries, QueryRule(name_of(message), message, key_of(message), number, answer))

    def _add_decision(self, rules: type, name: str, rule: MethodType, *, number: int) -> None:
        message = input_type(rules, name, rule.__func__)
        wants_context = len(inspect.signature(rule.__func__).parameters) > 3
        decide: Decide = rule if wants_context else _without_context(rule)
        method = self.methods.get(name_of(message))
        reply_type = method.output_type.full_name if method else ""
        plain = None if wants_context else rule
        found = CommandRule(name_of(message), message, key_of(message), number, decide, reply_type, plain)
        self._once(self.commands, found)

    def _check_events(self, rules: type, name: str, rule: Callable[..., Any]) -> None:
        for event in returned_types(rule):
            if name_of(event) not in self.events:
                raise BadSettings(f"{rules.__qualname__}.{name} returns {name_of(event)}, which no @evolves rule takes")

    def _check_view(self, rules: type, name: str, rule: Callable[..., Any]) -> None:
        method = self.methods.get(name_of(input_type(rules, name, rule)))
        if method is None:
            return
        for view in returned_types(rule):
            if view.DESCRIPTOR is not method.output_type:
                wanted = f"{self.service.full_name}/{method.name} returns {method.output_type.full_name}"
                raise BadSettings(f"{rules.__qualname__}.{name} returns {name_of(view)}, but {wanted}")

    def _add_upcast(self, function: Callable[[Any], Message]) -> None:
        message = input_type(App, getattr(function, "__name__", "upcaster"), function, position=0)
        if name_of(message) in self.events or name_of(message) in self.upcasts:
            raise BadSettings(f"{name_of(message)} is upcast, so no other rule may take it")
        self.upcasts[name_of(message)] = Upcast(message, function)

    def _check_upcasts(self) -> None:
        """Each chain of upcasts ends at an event that a rule takes."""
        for name in self.upcasts:
            seen, newest = [name], name
            while newest in self.upcasts:
                newer = returned_types(self.upcasts[newest].function)
                newest = name_of(newer[0]) if len(newer) == 1 else "no one message"
                if newest in seen:
                    raise BadSettings(f"{name} is upcast in a circle: {' → '.join((*seen, newest))}")
                seen.append(newest)
            if newest not in self.events:
                raise BadSettings(f"{name} is upcast to {newest}, which no @evolves rule takes: {' → '.join(seen)}")

    def _once(self, table: dict[str, R], rule: R) -> None:
        name = rule.type_name  # type: ignore[attr-defined]  # every rule has one
        if any(name in known for known in (self.commands, self.queries, self.events)):
            raise BadSettings(f"{name} has two rules in app `{self.name}`; a message type has one")
        table[name] = rule

    def _check_methods(self) -> None:
        for name, method in self.methods.items():
            if name not in self.commands and name not in self.queries:
                raise BadSettings(f"{self.service.full_name}/{method.name}: no rule takes {name}")
        if self.example is not None and self.example.DESCRIPTOR.full_name not in self.methods:
            raise BadSettings(f"the example is a {self.example.DESCRIPTOR.full_name}, which no rpc takes")

    def _check_participants(self) -> None:
        """Each takes commands of this app's sagas, and none means something else by a type than another one."""
        owners: dict[str, App] = {}
        for app in self.apps:
            if app is not self and self.name not in app.callers:
                raise BadSettings(
                    f"app `{app.name}` is a participant of `{self.name}`, but does not take commands of its sagas: "
                    f'say callers=("{self.name}",) when `{app.name}` is made'
                )
            for name in (*app.commands, *app.events, *app.upcasts):
                if owners.setdefault(name, app) is not app:
                    raise BadSettings(
                        f"{name} is a type of app `{owners[name].name}` and of app `{app.name}`; among the apps of a "
                        "saga a type says which one a command goes to, so it has one"
                    )
        names = [app.name for app in self.apps]
        if len(set(names)) != len(names):
            raise BadSettings(f"the apps of a saga need names of their own, found {', '.join(names)}")

    def message(self, type_name: str) -> type[Message] | None:
        """The message class of that name among the app's own, or None."""
        tables: tuple[Mapping[str, Any], ...] = (self.events, self.commands, self.queries, self.upcasts)
        for table in tables:
            if type_name in table:
                return table[type_name].message  # type: ignore[no-any-return]  # each holds a message class
        return None

    def newest(self, type_name: str) -> str:
        """The event that an old one is upcast to, through all steps; empty for one that is not upcast."""
        steps = self.steps_from(type_name)
        return name_of(returned_types(steps[-1].function)[0]) if steps else ""

    def steps_from(self, type_name: str) -> Sequence[Upcast]:
        """What leads an old event on to the newest, one after another; none for one that is not upcast."""
        steps: list[Upcast] = []
        while type_name in self.upcasts:
            steps.append(self.upcasts[type_name])
            type_name = name_of(returned_types(steps[-1].function)[0])
        return steps

    def reply_message(self, type_name: str) -> type[Message]:
        """The class that the rpc for this input returns."""
        return message_factory.GetMessageClass(self.methods[type_name].output_type)


def _without_context(rule: MethodType) -> Decide:
    def decide(state: State, command: Message, _context: Context) -> Decided:
        return rule(state, command)  # type: ignore[no-any-return]  # a rule's annotation was checked by the author's mypy

    return decide
