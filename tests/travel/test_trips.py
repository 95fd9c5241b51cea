"""The travel example, running: five CServers and a Saga as processes, over one embedded log."""

import asyncio
import signal
from collections.abc import Callable, Iterator

import pytest

import bennu.log
from bank.v1.commands_pb2 import Deposit, OpenAccount
from bank.v1.queries_pb2 import GetAccount
from bennu.replica.history import records
from bennu.v1.saga_pb2 import SagaTimerFired
from travel.agency import PARTITIONS, SAGA, Agency
from travel.car.v1.car_pb2 import AddCar, GetCar
from travel.flight.v1.flight_pb2 import GetFlight, OpenFlight
from travel.hotel.v1.hotel_pb2 import GetHotel, HotelView, OpenHotel
from travel.mailbox import LETTERS
from travel.saga import AGENCY
from travel.v1.travel_pb2 import BookTrip, GetTrip, ReadMail, TripStatus, TripView

WITHIN_S = 60
PRICE_MINOR, PAID_IN_MINOR = 700, 10_000
BOOKED, FAILED = TripStatus.TRIP_STATUS_BOOKED, TripStatus.TRIP_STATUS_FAILED
ROOMS, SEATS = 30, 40
HOTELS = {"ritz": ROOMS, "full": 0}
CARS = [f"car-{number}" for number in range(9)]
TRAVELLERS = {"ann": PAID_IN_MINOR, "bob": PAID_IN_MINOR, "cat": PAID_IN_MINOR, "poor": PRICE_MINOR - 1}


@pytest.fixture(scope="module")
def agency(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agency]:
    """One for all tests: it takes some seconds to start.  Each test has cars of its own."""
    with Agency(tmp_path_factory.mktemp("agency")) as started:
        for hotel, rooms in HOTELS.items():
            started.hotel.OpenHotel(OpenHotel(hotel=hotel, rooms=rooms))
        started.flight.OpenFlight(OpenFlight(flight="bn-17", seats=SEATS))
        for car in CARS:
            started.car.AddCar(AddCar(car=car))
        for account, amount_minor in {**TRAVELLERS, AGENCY: 0}.items():
            started.bank.OpenAccount(OpenAccount(account=account, currency="EUR"))
            if amount_minor:
                started.bank.Deposit(Deposit(account=account, amount_minor=amount_minor, currency="EUR"))
        yield started


def book(agency: Agency, trip: str, *, traveller: str = "ann", hotel: str = "ritz", car: str = "") -> None:
    """Ask for a trip."""
    agency.travel.BookTrip(
        BookTrip(
            trip=trip,
            traveller=traveller,
            hotel=hotel,
            flight="bn-17",
            car=car,
            price_minor=PRICE_MINOR,
            currency="EUR",
        )
    )


async def until(agency: Agency, look: Callable[[], object]) -> None:
    """Wait for it; what the services said last if it does not come."""
    try:
        async with asyncio.timeout(WITHIN_S):
            while not look():  # noqa: ASYNC110  only looking tells
                await asyncio.sleep(0.02)
    except TimeoutError:
        pytest.fail("\n".join(f"{name}: {service.last_lines()}" for name, service in agency.services.items()))


async def ended(agency: Agency, trip: str) -> tuple[TripStatus.ValueType, str]:
    """How it ended, and why, once it has."""

    def view() -> TripView:
        return agency.travel.GetTrip(GetTrip(trip=trip))

    await until(agency, lambda: view().status in (BOOKED, FAILED))
    return view().status, view().reason


def ritz(agency: Agency) -> HotelView:
    """The hotel that has rooms."""
    return agency.hotel.GetHotel(GetHotel(hotel="ritz"))


def check(agency: Agency, *trips: str) -> None:
    """These trips are booked, nothing is reserved, and whatever is booked is paid for."""
    hotel, flight = ritz(agency), agency.flight.GetFlight(GetFlight(flight="bn-17"))
    assert (list(hotel.reserved), list(flight.reserved)) == ([], [])
    assert set(trips) <= set(hotel.booked)
    assert sorted(hotel.booked) == sorted(flight.booked)
    assert (hotel.free, flight.free) == (ROOMS - len(hotel.booked), SEATS - len(hotel.booked))
    cars = [agency.car.GetCar(GetCar(car=car)) for car in CARS]
    assert all(car.rented == bool(car.trip) and (not car.trip or car.trip in hotel.booked) for car in cars)
    accounts = [*TRAVELLERS, AGENCY]
    balances = {name: agency.bank.GetAccount(GetAccount(account=name)).balance_minor for name in accounts}
    assert balances[AGENCY] == PRICE_MINOR * len(hotel.booked)
    assert sum(balances.values()) == sum(TRAVELLERS.values())


def test_a_trip_has_everything(agency: Agency) -> None:
    """Room, seat and car, paid for; one that wants no car has none."""

    async def life() -> None:
        book(agency, "with-car", car="car-0")
        book(agency, "without-car", traveller="bob")
        assert await ended(agency, "with-car") == (BOOKED, "")
        assert await ended(agency, "without-car") == (BOOKED, "")

    asyncio.run(life())
    check(agency, "with-car", "without-car")
    assert agency.car.GetCar(GetCar(car="car-0")).trip == "with-car"


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "sold out": ({"hotel": "full", "car": "car-1"}, "sold_out"),
    "no such car": ({"car": "none"}, "car_unknown"),
    "too dear": ({"traveller": "poor", "car": "car-1"}, "insufficient_funds"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_trip_leaves_nothing(agency: Agency, case: str) -> None:
    """Whichever app refuses, what the others reserved is released, and the traveller hears why."""
    asked, reason = REFUSED[case]
    trip = case.replace(" ", "-")
    book(agency, trip, **asked)
    assert asyncio.run(ended(agency, trip)) == (FAILED, reason)
    check(agency)
    assert agency.car.GetCar(GetCar(car="car-1")).trip == ""


def test_who_does_not_read_is_told_later(agency: Agency) -> None:
    """A full mailbox is tried until it is read: nothing that was paid for is undone for it."""

    async def life() -> None:
        letters = [f"cat-{number}" for number in range(LETTERS)]
        for trip in letters:
            book(agency, trip, traveller="cat")
        assert [await ended(agency, trip) for trip in letters] == [(BOOKED, "")] * LETTERS
        book(agency, "cat-more", traveller="cat")
        await until(agency, lambda: "cat-more" in ritz(agency).booked)
        agency.travel.ReadMail(ReadMail(traveller="cat"))
        assert await ended(agency, "cat-more") == (BOOKED, "")

    asyncio.run(life())
    check(agency, "cat-more")


def test_who_is_away_is_waited_for(agency: Agency) -> None:
    """The cars' CServer is killed and comes back before the step is given up, and so does Saga meanwhile."""

    async def life() -> None:
        agency.services["car"].kill()
        book(agency, "late", traveller="bob", car="car-2")
        await until(agency, lambda: "late" in ritz(agency).reserved)
        agency.services[SAGA].kill()
        await asyncio.gather(*(asyncio.to_thread(agency.start_one, name) for name in ("car", SAGA)))
        assert await ended(agency, "late") == (BOOKED, "")

    asyncio.run(life())
    check(agency, "late")
    assert agency.car.GetCar(GetCar(car="car-2")).trip == "late"


async def given_up(agency: Agency) -> None:
    """Return when the journals of the trips say of a step that it is given up."""
    said = SagaTimerFired.DESCRIPTOR.full_name.encode()
    async with bennu.log.open(agency.log) as log:
        while True:
            for number in range(PARTITIONS["travel"]):
                async for record in records(log, f"travel-saga-{number}"):
                    if said in record.body:
                        return
            await asyncio.sleep(0.1)


def test_who_answers_too_late_is_as_good_as_a_refusal(agency: Agency) -> None:
    """The airline stands still for longer than a trip waits: all is released, and what it then does late is undone."""

    def reserved_for() -> str:
        return agency.car.GetCar(GetCar(car="car-3")).trip

    async def life() -> None:
        agency.services["flight"].send(signal.SIGSTOP)
        try:
            book(agency, "too-late", traveller="bob", car="car-3")
            async with asyncio.timeout(WITHIN_S):
                await given_up(agency)
            assert reserved_for() == "too-late"  # nothing is undone before the newest step is
        finally:
            agency.services["flight"].send(signal.SIGCONT)
        assert await ended(agency, "too-late") == (FAILED, "step_timed_out")

    asyncio.run(life())
    check(agency)
    assert reserved_for() == ""
