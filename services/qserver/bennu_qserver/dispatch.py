"""A projection, compiled: for each event type how its bytes become row changes, looked up once."""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from bennu.domain import App, EventMeta, EventTable, Projection, Table
from bennu.domain.messages import input_type, name_of, rules_of
from bennu.domain.ownership import owned_tables, plain_statements
from bennu.domain.plain_sql import PlainSql
from bennu.errors import BadSettings, RecordBroken
from bennu.replica.known import check_events
from bennu.v1 import saga_pb2
from bennu.v1.journal_pb2 import EventBatch
from bennu_qserver import event_rows
from bennu_qserver.declaration import declaration_of
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.events import Event, Handler, Rule, event_key, events_of, saga_key, unreadable
from bennu_qserver.made_up import META, made_up, try_rule
from bennu_qserver.plain_calls import PlainCall, plain_calls
from bennu_qserver.proto_comments import commented
from bennu_qserver.rows import RowChanges
from bennu_qserver.saga_projection import SagaProjection
from bennu_qserver.statements import Statement
from bennu_qserver.tables import StoredTable, check_schema, check_table

EVENTS, SAGAS = "events", "saga"
"""Kinds of journals, as their topics are called."""


@dataclass(frozen=True)
class CompiledProjection:
    """What a loop needs of a projection."""

    app: str
    name: str
    journal: str
    """Which of the app's journals it reads: `EVENTS` or `SAGAS`."""
    generation: int
    statements: dict[str, Statement]
    handlers: dict[str, Handler | None]
    """Every event type that is known; None for those of no interest."""
    calls: dict[str, PlainCall]

    @property
    def tables(self) -> list[StoredTable]:
        return [statement.table for statement in self.statements.values()]

    @property
    def changed_by_sql(self) -> dict[str, str]:
        """The table that each plain statement changes."""
        return {text: call.table for text, call in self.calls.items()}

    def topic(self, partition: int) -> str:
        """The journal of this partition."""
        return f"{self.app}-{self.journal}-{partition}"

    def new_rows(self, topic: str) -> RowChanges:
        """No changes yet."""
        return RowChanges(self.statements, topic, self.calls)

    def events(self, batch: EventBatch, *, partition: int, where: str) -> Iterator[Event]:
        """Those of an effective batch that are of interest.  Raises `RecordBroken` for what can't be understood."""
        handlers = self._handlers_of(batch, where)
        if not any(handlers):
            return
        try:
            yield from events_of(batch, handlers, partition=partition, where=where)
        except (DecodeError, IndexError, ValueError) as error:
            raise RecordBroken(f"{where}: batch {batch.batch_no} has events that can't be read ({error})") from error

    def event(self, type_name: str, raw: bytes, *, meta: EventMeta, where: str) -> Event | None:
        """An event that was kept; None if it is of no interest.  Its rule raises if this build can't read it."""
        if type_name not in self.handlers:
            return unreadable(f"event type {type_name} is not known to app `{self.app}`", raw, meta=meta, where=where)
        handler = self.handlers[type_name]
        try:
            return handler and Event(handler.parse(raw), meta, handler, raw, where)
        except DecodeError as error:
            return unreadable(f"it can't be read as {type_name} ({error})", raw, meta=meta, where=where)

    def _handlers_of(self, batch: EventBatch, where: str) -> list[Handler | None]:
        check_events(batch.event_types, self.handlers, app=self.app, where=where)
        return [self.handlers[name] for name in batch.event_types]


@dataclass(frozen=True)
class DeclaredProjection:
    """A projection as this build declares it, whatever its generations."""

    app: str
    name: str
    journal: str
    tables: tuple[Table, ...]
    handlers: dict[str, Handler | None]
    declaration: str
    """Hash of what must be built anew when it changes: tables, event types, and the version its author gives it."""
    plain: dict[str, PlainSql] = field(default_factory=dict)

    def in_generation(self, number: int) -> CompiledProjection:
        """With the tables of one of its generations."""
        tables = {table.name: StoredTable(self.app, number, table) for table in self.tables}
        statements = {name: Statement(table) for name, table in tables.items()}
        calls = plain_calls(self.plain, tables)
        return CompiledProjection(self.app, self.name, self.journal, number, statements, self.handlers, calls)


def compile_projections(app: App) -> list[DeclaredProjection]:
    """All projections of the app, and the one of its sagas.  Raises `BadSettings` naming what can't work."""
    if not (app.projections or app.sagas):
        raise BadSettings(
            f"app `{app.name}` declares neither projections nor sagas: there is nothing for QServer to do"
        )
    check_schema(app.name)
    compiled = [_of_events(app, projection) for projection in app.projections]
    if app.sagas:
        compiled.append(_of_sagas(app))
    _check_once("projections are called", [projection.name for projection in compiled])
    _check_once("tables are called", [table.name for one in compiled for table in one.tables])
    return compiled


def _check_once(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadSettings(f"two {what} `{name}`")


def _of_events(app: App, projection: Projection) -> DeclaredProjection:
    name = projection.name or type(projection).__qualname__.lower()
    if isinstance(projection, EventTable):
        declaration = _declaration(projection, name, handled=event_rows.ALL)
        handlers = event_rows.handlers_of(app, projection)
        return DeclaredProjection(app.name, name, EVENTS, projection.tables, handlers, declaration)
    rules = _rules(projection, app.events, app=app.name)
    handled = {kind for name in rules for kind in _as_first_written(app, name)}
    handlers = _handlers(app, rules)
    declaration = _declaration(projection, name, handled=handled)
    tables = commented(owned_tables(projection, app.events), (app.events[event].message for event in rules))
    declared = DeclaredProjection(app.name, name, EVENTS, tables, handlers, declaration, plain_statements(projection))
    for event in rules:
        _try(declared, app.events[event].message, f"{type(projection).__qualname__}, the rule for {event}")
    return declared


def _try(declared: DeclaredProjection, message: type[Message], where: str) -> None:
    handler = declared.handlers[name_of(message)]
    assert handler is not None, "it has a rule"
    first = declared.in_generation(1)
    made = made_up(message)
    event = Event(made, META, handler, made.SerializeToString(), "nowhere")
    try_rule(event, first.new_rows(first.topic(META.partition)), where)


def _as_first_written(app: App, event: str) -> list[str]:
    """The oldest types that become this one: so a newer version of an event alone asks for no rebuild."""
    newer = {name_of(step.message) for old in app.upcasts for step in app.steps_from(old)[1:]}
    return [old for old in app.upcasts if app.newest(old) == event and old not in newer] or [event]


def _of_sagas(app: App) -> DeclaredProjection:
    projection = SagaProjection(app)
    records = {kind.full_name: GetMessageClass(kind) for kind in saga_pb2.DESCRIPTOR.message_types_by_name.values()}
    rules = _rules(projection, records, app=app.name)
    handlers = {
        name: Handler(record.FromString, rules[name], saga_key()) if name in rules else None
        for name, record in records.items()
    }
    declaration = _declaration(projection, projection.name, handled=rules)
    return DeclaredProjection(app.name, projection.name, SAGAS, projection.tables, handlers, declaration)


def _declaration(projection: Projection, name: str, *, handled: Iterable[str]) -> str:
    for table in projection.tables:
        check_table(table, type(projection).__qualname__)
    return declaration_of(projection, name, handled=sorted(handled))


def _rules(projection: Projection, events: Container[str], *, app: str) -> dict[str, Rule]:
    kind, rules = type(projection), dict[str, Rule]()
    for method, rule in rules_of(kind, "projects"):
        message = input_type(kind, method, rule, position=1)
        if name_of(message) not in events:
            raise BadSettings(f"{kind.__qualname__}.{method}: {name_of(message)} is no event of app `{app}`")
        if name_of(message) in rules:
            raise BadSettings(f"{kind.__qualname__}.{method}: {name_of(message)} has a rule already")
        rules[name_of(message)] = partial(rule, projection)
    return rules


def _handlers(app: App, rules: dict[str, Rule]) -> dict[str, Handler | None]:
    handlers: dict[str, Handler | None] = {}
    for name, event in app.events.items():
        key = event_key(app, name)
        handlers[name] = Handler(event.message.FromString, rules[name], key) if name in rules else None
    for name, old in app.upcasts.items():
        if app.newest(name) not in rules:
            handlers[name] = None
            continue
        rule = _upcasting(app, old.function, rules)
        handlers[name] = Handler(old.message.FromString, rule, event_key(app, name))
    return handlers


def _upcasting(app: App, upcast: Callable[[Message], Message], rules: dict[str, Rule]) -> Rule:
    """A rule that takes an old event: by its new name, which may itself be upcast."""

    def project(old: Message, *place: Any) -> None:  # noqa: ANN401 - rows and meta, passed on
        event = upcast(old)
        name = event.DESCRIPTOR.full_name
        if name in rules:
            rules[name](event, *place)
        elif name in app.upcasts:
            _upcasting(app, app.upcasts[name].function, rules)(event, *place)
        elif name not in app.events:
            raise ProjectionFailed(f"{old.DESCRIPTOR.full_name} is upcast to {name}, which is no event of the app")

    return project
