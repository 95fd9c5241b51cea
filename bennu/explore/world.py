"""What can happen to a world next, and what comes of it.  See `bennu.explore.values` for the events."""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from google.protobuf.message import Message

from bennu.domain.aggregate import State
from bennu.domain.app import App
from bennu.domain.scenario import Scenario, States
from bennu.errors import BadSettings
from bennu.explore.failures import Raised
from bennu.explore.processes import (
    Participant,
    Sagas,
    check_names,
    first_record,
    places_of,
    undone_by,
    without_cause,
)
from bennu.explore.values import NOBODY, Event, Reaction, Reading, Records, Taken, Taking, World
from bennu.testing.clock import START_US
from bennu.wire.partitioning import partition_of
from bennu_saga.definitions import Definitions
from bennu_saga.outbox import encode

MAX_FIRINGS = 12
"""Timers on one path before who is away comes back: what is not answered may be asked for again for ever."""
CACHED = 100_000


class Model:
    """What happens to worlds of one scenario."""

    def __init__(self, app: App, scenario: Scenario, partitions: int) -> None:
        self.app = app
        self.scenario = scenario
        check_names(app)
        self.places = places_of(app, partitions)
        self._raised = Raised()
        self.definitions = Definitions(app, self._raised)
        self._participants = list(map(Participant, self.places))
        self._taken = lru_cache(CACHED)(self._take_anew)
        self._reacted = lru_cache(CACHED)(self._react_anew)
        self._sent = lru_cache(CACHED)(self._send_anew)
        self._held = lru_cache(CACHED)(self._hold_anew)

    def start(self) -> World:
        """The scenario's beginning: the saga's event is in its journal.  Raises `BadSettings` if it can't begin."""
        events = [[first_record(place.number, place.partitions)] for place in self.places]
        named = [(command, f"command {n} of `given`") for n, command in enumerate(self.scenario.given, 1)]
        for command, which in (*named, (self.scenario.when, "`when`")):
            where = f"scenario {self.scenario.name}: {which}, {command.DESCRIPTOR.name},"
            index = self._place_of(command, where)
            body, refusal = self._participants[index].carry_out(events[index], command)
            if refusal:
                raise BadSettings(f"{where} is refused: {refusal}")
            events[index].append(body)
        count = len(self.places)
        zeros = (0,) * count
        journals = tuple(tuple(journal) for journal in events)
        begin = World(journals, ((),) * count, (first_record(0, 1),), b"", (), zeros, zeros, zeros, zeros, zeros, zeros)
        sagas = self.sagas(begin)
        # What means nothing to a saga is read already.
        seen = tuple(0 if sagas.hears(*each) else len(each[1]) for each in zip(self.places, journals, strict=True))
        return replace(begin, seen=seen, kept_seen=seen)

    def _place_of(self, command: Message, where: str) -> int:
        for index, (app, number, partitions, *_) in enumerate(self.places):
            rule = app.commands.get(command.DESCRIPTOR.full_name)
            if rule is not None and partition_of(rule.key(command), partitions) == number:
                return index
        names = ", ".join(f"`{app.name}`" for app in self.app.apps)
        raise BadSettings(f"{where} is no command of {names}: no rule marked `decides` takes it")

    # --- what can happen

    def possible(self, world: World, faults: int) -> Iterator[Event]:
        """Events that may come next, with so many faults left; none: it is over.

        Of events that may change places without any difference only one order is gone through: what CServer makes of a
        record nobody sees before Saga reads it, and Saga reads the same whether its commands are on their way or not.
        So a record is taken at once, or the participant stays away, Saga sends before it reads, and what is late lands
        before the next record of its log, or at the end.
        """
        ordinary = self._first(world, list(self._ordinary(world)))
        yield from ordinary
        may_fire = world.due_us and (world.firings < MAX_FIRINGS or world.away == NOBODY)
        if may_fire and (faults or not ordinary):
            yield Event("fire", fault=bool(ordinary))
        if not ordinary and world.away != NOBODY:
            yield Event("back", world.away)
        if faults:
            yield from self._faults(world, ordinary)
            if (world.seen, world.sent) != (world.kept_seen, world.kept_sent):
                yield Event("crash", fault=True)

    @staticmethod
    def _first(world: World, ordinary: list[Event]) -> list[Event]:
        """Those that come before the others."""
        for kind in ("take", "send"):
            for event in ordinary:
                if event.kind == kind:
                    late = [index for index, (place, _) in enumerate(world.limbo) if place == event.place]
                    return [event, *(Event("land", index) for index in late if kind == "send")]
        return [event for event in ordinary if event.kind == "read"] or ordinary

    def _ordinary(self, world: World) -> Iterator[Event]:
        for number in range(len(self.places)):
            if number != world.away and world.taken[number] < len(world.commands[number]):
                yield Event("take", number)
            if world.seen[number] < len(world.events[number]):
                yield Event("read", number)
            if world.sent[number] < world.issued[number]:
                yield Event("send", number)
        for index in range(len(world.limbo)):
            yield Event("land", index)

    def _faults(self, world: World, ordinary: list[Event]) -> Iterator[Event]:
        for kind, index, _ in ordinary:
            if kind == "send":
                yield Event("twice", index, fault=True)
                yield Event("late", index, fault=True)
            if kind == "take":
                yield Event("refuse", index, fault=True)
                if world.away == NOBODY:
                    yield Event("away", index, fault=True)

    # --- what comes of it

    def after(self, world: World, event: Event) -> World:  # noqa: PLR0911  one for each kind
        """The world once this has happened.  Raises whatever Bennu stops with."""
        kind, index, _ = event
        if kind in ("take", "refuse"):
            return self._take(world, index, refuse=kind == "refuse")
        if kind == "read":
            return self._read(world, index)
        if kind in ("send", "twice", "late"):
            return self._send(world, index, kind)
        if kind == "fire":
            return self._fire(world)
        if kind == "land":
            destination, record = world.limbo[index]
            limbo = world.limbo[:index] + world.limbo[index + 1 :]
            return replace(world, limbo=limbo, commands=_with(world.commands, destination, record))
        if kind == "crash":
            return replace(world, seen=world.kept_seen, sent=world.kept_sent)
        return replace(world, away=index if kind == "away" else NOBODY)

    def sagas(self, world: World) -> Sagas:
        """Saga's memory, from its journal."""
        return Sagas(self.definitions, self.places, world.sagas, now_us=world.now_us)

    def states(self, world: World) -> States:
        """What all aggregates of all apps hold."""
        found: dict[str, dict[str, State]] = {}
        for place, journal in enumerate(world.events):
            for name, states in self._held(place, journal).items():
                found.setdefault(name, {}).update(states)
        return found

    def _take(self, world: World, number: int, *, refuse: bool) -> World:
        taken = world.taken[number] + 1
        found = self._taken(Taking(number, world.events[number], world.commands[number][:taken], refuse, world.now_us))
        return replace(
            world,
            events=_with(world.events, number, found.body),
            taken=_set(world.taken, number, taken),
            raised=_all(world.raised, found.raised),
        )

    def _read(self, world: World, source: int) -> World:
        found = self._reacted(Reading(world.sagas, _receipts(world), world.now_us, source, world.events[source]))
        return self._journaled(replace(world, seen=_set(world.seen, source, found.seen)), found)

    def _fire(self, world: World) -> World:
        later = replace(world, now_us=max(world.now_us, world.due_us - START_US + 1), firings=world.firings + 1)
        return self._journaled(later, self._reacted(Reading(later.sagas, _receipts(later), later.now_us)))

    def _send(self, world: World, number: int, kind: str) -> World:
        record, last_no = self._sent(world.sagas, number, world.sent[number])
        sent = replace(world, commands=_with(world.commands, number, record), sent=_set(world.sent, number, last_no))
        if kind == "twice":
            return replace(sent, commands=_with(sent.commands, number, record))
        return replace(sent, limbo=(*sent.limbo, (number, record))) if kind == "late" else sent

    def _journaled(self, world: World, found: Reaction) -> World:
        """What was reacted to is effective, with positions and receipts."""
        raised = _all(world.raised, found.raised)
        if found.body is None:
            return replace(world, raised=raised)
        return replace(
            world,
            raised=raised,
            sagas=(*world.sagas, found.body),
            memory=found.memory,
            undone=world.undone + found.undone,
            kept_seen=tuple(map(max, world.kept_seen, found.journaled)),
            kept_sent=world.sent,
            issued=found.issued,
            due_us=found.due_us,
        )

    # --- processes, whose every step follows from what they are given: the worlds are many, these are few

    def _take_anew(self, it: Taking) -> Taken:
        return self._participants[it.place].take(it.journal, it.commands, refuse=it.refuse, now_us=it.now_us)

    def _hold_anew(self, place: int, journal: Records) -> States:
        return self._participants[place].states(journal)

    def _react_anew(self, it: Reading) -> Reaction:
        sagas = Sagas(self.definitions, self.places, it.journal, now_us=it.now_us)
        self._raised.take()  # what was heard of elsewhere is not of this step
        for place, last_no in zip(self.places, it.receipts, strict=True):
            if last_no:
                sagas.partition.confirmed(place.commands, last_no)
        seen = 0
        if it.place == NOBODY:
            sagas.fire()
        else:
            seen = sagas.read(self.places[it.place], it.events)
        sagas.check_timers()
        body = sagas.record()
        heads, timer = sagas.fold.outbox.heads(), sagas.fold.next_timer()
        return Reaction(
            body,
            sagas.memory(),
            undone_by(body) if body else (),
            seen,
            journaled=tuple(sagas.journaled(place.events) for place in self.places),
            issued=tuple(heads.get(place.commands, 0) for place in self.places),
            due_us=timer[0] if timer else 0,
            raised=self._raised.take(),
        )

    def _send_anew(self, journal: Records, number: int, sent: int) -> tuple[bytes, int]:
        sagas = Sagas(self.definitions, self.places, journal, now_us=0)
        box = sagas.fold.outbox.box(self.places[number].commands)
        box.confirm(sent)
        commands = list(map(without_cause, box.sendable()))
        return encode(commands, sagas.topic), commands[-1].no


def _receipts(world: World) -> tuple[int, ...]:
    """By command log, those that are not journaled; 0: none."""
    return tuple(sent if sent > kept else 0 for sent, kept in zip(world.sent, world.kept_sent, strict=True))


def _all(before: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*before, *more})) if more else before


def _with(logs: tuple[Records, ...], number: int, record: bytes) -> tuple[Records, ...]:
    return (*logs[:number], (*logs[number], record), *logs[number + 1 :])


def _set(numbers: tuple[int, ...], index: int, value: int) -> tuple[int, ...]:
    return (*numbers[:index], value, *numbers[index + 1 :])
