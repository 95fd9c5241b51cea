"""Sagas over several apps: where commands go, whose events are heard, whose numbers are taken, and what is refused."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import structlog

from bennu.domain import App, Saga, Step
from bennu.errors import BadSettings, JournalBroken, UnknownToBuild
from bennu.explore.processes import first_record, leading
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Record
from bennu.ops.prepare import count
from bennu.ops.readiness import Readiness
from bennu.ops.topics import MAX_PARTITIONS, numbered_sources
from bennu.replica.fold import AggregateFold
from bennu.replica.journal import FORMAT_VERSION, JournalReader, Position, encode
from bennu.replica.leader import Replica
from bennu.testing.loop import run
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu.v1.saga_pb2 import SagaCommandIssued
from bennu.wire.partitioning import partition_of
from bennu_cserver.numbered import is_next
from bennu_cserver.submission import Submission
from bennu_saga.definitions import Definitions
from bennu_saga.event_input import EventJournalReader
from bennu_saga.fold import SagaFold
from bennu_saga.reactor import Reactor
from bennu_saga.signals import Answer, Signals, Trigger
from tests.journal_writer import Entry, JournalWriter
from travel.app import app as travel
from travel.car.app import app as car
from travel.hotel.app import HotelRules
from travel.hotel.app import app as hotel
from travel.hotel.v1 import hotel_pb2
from travel.hotel.v1.hotel_pb2 import HotelOpened, RoomReserved
from travel.mailbox import MailboxRules
from travel.saga import release_car, reserve_room
from travel.trip import TripRules
from travel.v1 import travel_pb2
from travel.v1.travel_pb2 import TripRequested

ASKED = TripRequested(trip="t", traveller="ann", hotel="ritz", flight="bn-17", car="beetle", price_minor=1)
DEFINITIONS = Definitions(travel)
COUNTS = {"travel": 2, "hotel": 3, "flight": 5, "car": 7, "bank": 11}
INN = App("inn", service=hotel_pb2.DESCRIPTOR.services_by_name["Hotel"], aggregates=(HotelRules,), callers=("travel",))


def agency(name: str = "travel", *, participants: Sequence[App] = (), sagas: Sequence[type[Saga[Any]]] = ()) -> App:
    """The travel agency, with other participants and sagas."""
    service = travel_pb2.DESCRIPTOR.services_by_name["Travel"]
    rules = (TripRules, MailboxRules)
    return App(name, service=service, aggregates=rules, participants=participants, sagas=sagas)


class _Told(Saga[TripRequested]):
    """Makes a command of an app that is no participant."""

    steps = (Step("room", reserve_room),)

    def key(self, trigger: TripRequested) -> str:
        return trigger.trip


class _Astray(Saga[TripRequested]):
    """Undoes in one app what it did in another one."""

    steps = (Step("room", reserve_room, compensation=release_car, timeout_ms=1), Step("again", reserve_room))

    def key(self, trigger: TripRequested) -> str:
        return trigger.trip


class _OfHotel(Saga[RoomReserved]):
    """Started by an event of a participant."""

    steps = (Step("room", reserve_room),)

    def key(self, trigger: RoomReserved) -> str:
        return trigger.trip


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "one type in two apps": (
        lambda: agency(participants=(hotel, INN)),
        r"travel\.hotel\.v1\.\w+ is a type of app `hotel` and of app `inn`",
    ),
    "one app twice": (
        lambda: agency(participants=(hotel, hotel)),
        "need names of their own, found travel, hotel, hotel",
    ),
    "not a caller": (
        lambda: agency("rival", participants=(hotel,)),
        r"`hotel` is a participant of `rival`, but does not take .* say callers=\(\"rival\",\) when `hotel` is made",
    ),
    "a command of nobody": (
        lambda: Definitions(agency(participants=(car,), sagas=(_Told,))),
        r"reserve_room makes travel\.hotel\.v1\.ReserveRoom, no command of apps `travel`, `car`",
    ),
    "started by an event of nobody": (
        lambda: Definitions(agency(participants=(car,), sagas=(_OfHotel,))),
        r"started by travel\.hotel\.v1\.RoomReserved, which is no event of apps `travel`, `car`",
    ),
    "undone elsewhere": (
        lambda: Definitions(agency(participants=(hotel, car), sagas=(_Astray,))),
        "step `room` may time out, so its compensation must go to the app of its command, `hotel`, not to `car`",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_apps_that_do_not_fit_are_refused(case: str) -> None:
    """When they are loaded, with the names of the apps."""
    make, message = BAD[case]
    with pytest.raises(BadSettings, match=message):
        make()


# --- commands


def issued(reactor: Reactor) -> list[SagaCommandIssued]:
    """The commands of a trip that was asked for."""
    (definition,) = DEFINITIONS.by_trigger["travel.v1.TripRequested"]
    trigger = Trigger(0, definition, "TripSaga:t", "0-1", ASKED.SerializeToString(), "asked", "", "")
    return [record for record in reactor.start(trigger, 1) if isinstance(record, SagaCommandIssued)]


def refused(reactor: Reactor, commands: Sequence[SagaCommandIssued]) -> list[SagaCommandIssued]:
    """What follows when all of these are."""
    found = [reactor.answer(Answer(0, each.command_id, accepted=False, reason="sold_out"), 2) for each in commands]
    return [record for records in found for record in records if isinstance(record, SagaCommandIssued)]


def test_a_command_goes_to_the_app_of_its_type() -> None:
    """Its key and that app's number of partitions choose the log; the numbers of each log are its own."""
    commands = issued(Reactor(DEFINITIONS, SagaFold(), COUNTS))
    assert {(each.destination, each.no) for each in commands} == {
        (f"hotel-commands-{partition_of('ritz', 3)}", 1),
        (f"flight-commands-{partition_of('bn-17', 5)}", 1),
        (f"car-commands-{partition_of('beetle', 7)}", 1),
    }


def test_ids_are_of_one_app_alone() -> None:
    """What goes to another app is named after ours too: it may have a saga of this name and key itself."""
    reactor = Reactor(DEFINITIONS, SagaFold(), COUNTS)
    commands = issued(reactor)
    assert [each.command_id for each in commands] == [f"saga:travel/TripSaga:t:0-1:{index}f" for index in range(3)]
    (closing,) = refused(reactor, commands)
    assert closing.command_id == "saga:TripSaga:t:0-1:9e"
    assert closing.destination == f"travel-commands-{partition_of('t', 2)}"


# --- events


def batch(*events: RoomReserved | HotelOpened) -> EventBatch:
    """Of the hotel's journal, by nobody's command of ours."""
    writer = JournalWriter(MemoryLog(MemoryBroker()), "hotel-events-1")
    return writer.build([Entry("any", events)], recorded_at_us=1)


def test_an_event_of_a_participant_starts_a_saga() -> None:
    """Its instance says of which app: two apps' events may stand at the same place."""
    definitions = Definitions(agency(participants=(hotel,), sagas=(_OfHotel,)))
    signals = Signals(definitions, "travel-saga-0", (0, 1), app=hotel)
    (found,) = signals.of(batch(RoomReserved(hotel="ritz", trip="t")), 1, where="here")
    assert isinstance(found, Trigger)
    assert (found.saga_id, found.instance) == ("_OfHotel:t", "hotel-1-1")


def test_each_app_has_its_own_events() -> None:
    """What stands in an app's journal without being its own is unknown, though another one knows it."""
    signals = Signals(DEFINITIONS, "travel-saga-0", (0, 1), app=car)
    with pytest.raises(
        UnknownToBuild, match=r"here: event type travel\.hotel\.v1\.HotelOpened is not known to app `car`"
    ):
        signals.of(batch(HotelOpened(hotel="ritz")), 0, where="here")


@pytest.mark.parametrize("command_id", ["saga:Cleaning:ritz:0-1:0f", "saga:rival/TripSaga:t:0-1:0f"])
def test_an_unknown_event_by_others_sagas_stops_us(command_id: str) -> None:
    """It may start one of ours, or be waited for: only what answers ours is the affair of one saga."""
    signals = Signals(DEFINITIONS, "travel-saga-0", (0, 1), app=hotel)
    strange = batch(HotelOpened(hotel="ritz"))
    strange.event_types[0] = "travel.hotel.v9.Gone"
    strange.command_ids[0] = "saga:travel/TripSaga:t:0-1:0f"
    assert signals.of(strange, 1, where="here") == ()
    strange.command_ids[0] = command_id
    with pytest.raises(UnknownToBuild, match=r"here: event type travel\.hotel\.v9\.Gone"):
        signals.of(strange, 1, where="here")


# --- how many partitions


def start(epoch: int, *, partitions: int) -> bytes:
    """Of an epoch of the hotel's first journal."""
    return encode(
        EpochStart(format_version=FORMAT_VERSION, epoch=epoch, term=epoch, partition=0, partitions=partitions)
    )


def counted(broker: MemoryBroker, then: Callable[[JournalWriter], Any]) -> tuple[dict[str, int], list[Any]]:
    """How many partitions the hotel is found to have once `then` has been done, and what was said meanwhile."""

    async def life() -> dict[str, int]:
        found, readiness = dict[str, int](), Readiness()
        log = MemoryLog(broker)
        counting = asyncio.create_task(count(log, ["hotel"], found, readiness=readiness))
        await asyncio.sleep(60)
        assert not found
        assert not counting.done()
        assert "hotel-events-0 does not say how many partitions the app has" in str(readiness.report())
        await log.create("hotel-events-0")
        await then(JournalWriter(log, "hotel-events-0", partitions=3))
        await counting
        assert readiness.ready
        return found

    with structlog.testing.capture_logs() as said:
        return run(life()), list(said)


def test_a_participant_that_has_not_begun_is_waited_for() -> None:
    """Its journal says how many partitions it has; until then nothing is guessed, and it is said what is waited for."""
    found, said = counted(MemoryBroker(), JournalWriter.epoch)
    assert found == {"hotel": 3}
    assert said[0]["peer"] == "app hotel"
    assert "hotel-events-0 does not say how many partitions the app has: start its CServer" in said[0]["problem"]


def test_a_later_epoch_says_it_where_the_first_is_no_longer_kept() -> None:
    """A broker keeps days; each process that takes over says it again."""
    broker = MemoryBroker()

    async def much_later(writer: JournalWriter) -> None:
        await writer.epoch()
        await writer.batch([Entry("any", [HotelOpened(hotel="ritz")])], recorded_at_us=1)
        broker.expire_before("hotel-events-0", 1)
        await asyncio.sleep(60)
        await writer.epoch()

    assert counted(broker, much_later)[0] == {"hotel": 3}


def test_another_number_of_partitions_stops_the_reader() -> None:
    """What the service began with, and what the journal says later."""
    signals = Signals(DEFINITIONS, "travel-saga-0", (0, 1), app=hotel)
    reader = EventJournalReader(signals, "hotel-events-0", (0, 3))
    records = [Record(0, start(1, partitions=3)), Record(1, start(2, partitions=4))]
    with pytest.raises(BadSettings, match=r"hotel-events-0, offset 1: .* partition 0 of 4, .* began with 0 of 3"):
        list(reader.deliveries(JournalReader(Position("hotel-events-0")), records))


# --- whose numbers are taken


def test_numbers_are_taken_of_callers() -> None:
    """Of as many partitions as any app may have, for a participant does not know how many a caller has."""
    sources = numbered_sources("hotel", 2, ("travel",))
    assert {"hotel-saga-0", "hotel-saga-1", "travel-saga-0", f"travel-saga-{MAX_PARTITIONS - 1}"} <= sources
    assert len(sources) == 2 + MAX_PARTITIONS
    assert "hotel-saga-2" not in sources
    assert numbered_sources("hotel", 2) == {"hotel-saga-0", "hotel-saga-1"}


def hotels() -> Replica:
    """A hotel's leader."""
    return leading("hotel-events-0", AggregateFold(hotel), [first_record(0, 1)], place=(0, 1), now_us=0)


def numbered(source: str, number: int) -> Submission:
    """A command of this stream."""
    found = Submission([], lambda _submission, _batch_no: None)
    found.source, found.first_no, found.input_topic = source, number, "hotel-commands-0"
    return found


def test_a_callers_gap_stops_nobody() -> None:
    """It is said, and its stream goes on: what is missing is never decided, and nothing is decided twice."""
    replica = hotels()
    with structlog.testing.capture_logs() as said:
        taken = [number for number in (1, 5, 3, 5, 6) if is_next(numbered("travel-saga-0", number), replica)]
    assert taken == [1, 5, 6]
    assert [line["log_level"] for line in said] == ["error"]
    assert "command 5 of stream travel-saga-0 follows 1; commands are missing" in said[0]["problem"]


def test_a_gap_of_our_own_stops_us() -> None:
    """Our own journal issued them, so something is broken here."""
    with pytest.raises(JournalBroken, match="command 2 of stream hotel-saga-0 follows 0"):
        is_next(numbered("hotel-saga-0", 2), hotels())
