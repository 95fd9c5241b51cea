"""A projection, compiled: for each event type how its bytes become row changes, looked up once."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from bennu.domain import App, EventMeta, Projection, Table
from bennu.domain.messages import input_type, name_of, rules_of
from bennu.errors import BadSettings, RecordBroken
from bennu.replica.known import check_events
from bennu.v1 import saga_pb2
from bennu.v1.command_pb2 import Origin
from bennu.v1.journal_pb2 import EventBatch
from bennu_qserver.declaration import declaration_of
from bennu_qserver.errors import ProjectionFailed
from bennu_qserver.rows import RowChanges
from bennu_qserver.saga_projection import SagaProjection
from bennu_qserver.statements import Statement
from bennu_qserver.tables import StoredTable, check_schema, check_table

EVENTS, SAGAS = "events", "saga"
"""Kinds of journals, as their topics are called."""

RULE_FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a faulty rule raises; anything else is no fault of the event's."""

Rule = Callable[[Message, RowChanges, EventMeta], None]


class Handler(NamedTuple):
    """From an event's bytes to the rule."""

    parse: Callable[[bytes], Message]
    rule: Rule


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

    @property
    def tables(self) -> list[StoredTable]:
        return [statement.table for statement in self.statements.values()]

    def topic(self, partition: int) -> str:
        """The journal of this partition."""
        return f"{self.app}-{self.journal}-{partition}"

    def apply(self, batch: EventBatch, rows: RowChanges, *, partition: int, where: str) -> None:
        """Collect the row changes of an effective batch.

        Raises `RecordBroken` for what can't be understood, `ProjectionFailed` for a rule that can't do its work.
        """
        handlers = self._handlers_of(batch, where)
        if not any(handlers):
            return
        try:
            for index, raw, meta in _events(batch, partition):
                handler = handlers[index]
                if handler is not None:
                    rows.seq = meta.seq
                    _project(handler, raw, rows, meta=meta, where=where)
        except (DecodeError, IndexError, ValueError) as error:
            raise RecordBroken(f"{where}: batch {batch.batch_no} has events that can't be read ({error})") from error

    def _handlers_of(self, batch: EventBatch, where: str) -> list[Handler | None]:
        check_events(batch.event_types, self.handlers, app=self.app, where=where)
        return [self.handlers[name] for name in batch.event_types]


def _events(batch: EventBatch, partition: int) -> Iterator[tuple[int, bytes, EventMeta]]:
    """(type index, bytes, meta) of every event.  `ValueError` or `IndexError` if the columns don't fit together."""
    if not sum(batch.event_counts) == len(batch.event_type_indexes) == len(batch.events):
        raise ValueError("its entries, event types and events differ in number")
    origins: Sequence[Origin] = list(batch.origins) or [Origin()]
    of_entry = list(batch.origin_indexes) or [0] * len(batch.command_ids)
    seq, recorded_at_us = batch.first_seq, batch.recorded_at_us
    events = zip(batch.event_type_indexes, batch.events, strict=True)
    for command_id, count, origin in zip(batch.command_ids, batch.event_counts, of_entry, strict=True):
        actor = origins[origin].actor
        for index, raw in islice(events, count):
            yield index, raw, EventMeta(partition, seq, recorded_at_us, command_id, actor)
            seq += 1


def _project(handler: Handler, raw: bytes, rows: RowChanges, *, meta: EventMeta, where: str) -> None:
    event = handler.parse(raw)
    try:
        handler.rule(event, rows, meta)
    except ProjectionFailed as error:
        raise ProjectionFailed(f"{where}, seq {meta.seq}: {error}") from error
    except RULE_FAULTS as error:
        kind = type(event).DESCRIPTOR.full_name
        raise ProjectionFailed(f"{where}, seq {meta.seq}: the rule for {kind} raised {error!r}") from error


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

    def in_generation(self, number: int) -> CompiledProjection:
        """With the tables of one of its generations."""
        statements = {table.name: Statement(StoredTable(self.app, number, table)) for table in self.tables}
        return CompiledProjection(self.app, self.name, self.journal, number, statements, self.handlers)


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
    rules = _rules(projection, app.events, app=app.name)
    name = projection.name or type(projection).__qualname__.lower()
    handled = {kind for name in rules for kind in _as_first_written(app, name)}
    handlers = _handlers(app, rules)
    return DeclaredProjection(
        app.name, name, EVENTS, projection.tables, handlers, _declaration(projection, name, handled=handled)
    )


def _as_first_written(app: App, event: str) -> list[str]:
    """The oldest types that become this one: so a newer version of an event alone asks for no rebuild."""
    newer = {name_of(step.message) for old in app.upcasts for step in app.steps_from(old)[1:]}
    return [old for old in app.upcasts if app.newest(old) == event and old not in newer] or [event]


def _of_sagas(app: App) -> DeclaredProjection:
    projection = SagaProjection(app)
    records = {kind.full_name: GetMessageClass(kind) for kind in saga_pb2.DESCRIPTOR.message_types_by_name.values()}
    rules = _rules(projection, records, app=app.name)
    handlers = {
        name: Handler(record.FromString, rules[name]) if name in rules else None for name, record in records.items()
    }
    declaration = _declaration(projection, projection.name, handled=rules)
    return DeclaredProjection(app.name, projection.name, SAGAS, projection.tables, handlers, declaration)


def _declaration(projection: Projection, name: str, *, handled: Iterable[str]) -> str:
    for table in projection.tables:
        check_table(table, type(projection).__qualname__)
    return declaration_of(name, projection.version, tables=projection.tables, handled=sorted(handled))


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
        handlers[name] = Handler(event.message.FromString, rules[name]) if name in rules else None
    for name, old in app.upcasts.items():
        handlers[name] = Handler(old.message.FromString, _upcasting(app, old.function, rules))
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
