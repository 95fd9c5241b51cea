"""The travel agency on this machine: `python -m travel.demo`.

Starts five CServers and a Saga, books trips, some of which can't be had, and shows how each ended, and what is left.
"""

import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import typer

from bank.v1.commands_pb2 import Deposit, OpenAccount
from bank.v1.queries_pb2 import GetAccount
from travel.agency import Agency
from travel.car.v1.car_pb2 import AddCar
from travel.flight.v1.flight_pb2 import GetFlight, OpenFlight
from travel.hotel.v1.hotel_pb2 import GetHotel, OpenHotel
from travel.saga import AGENCY, ANSWER_WITHIN_MS
from travel.v1.travel_pb2 import BookTrip, GetTrip, ReadMail, TripStatus

PRICE_MINOR, CURRENCY = 700, "EUR"
ROOMS = {"ritz": 20, "full": 0}
SEATS = 20
CARS = ("beetle", "herbie", "kitt", "mini")
FUNDS_MINOR = {"ann": 4_000, "bob": 4_000, "cat": 1_000}
TRIPS, SEED = 20, 1
ENDS = (TripStatus.TRIP_STATUS_BOOKED, TripStatus.TRIP_STATUS_FAILED)
POLL_S = 0.2
LATE = BookTrip(trip="late", traveller="ann", hotel="ritz", flight="bn-17", price_minor=PRICE_MINOR, currency=CURRENCY)
STANDS_STILL_S = 2 + ANSWER_WITHIN_MS // 1000


def furnish(agency: Agency) -> None:
    """What there is to book, and who books."""
    for hotel, rooms in ROOMS.items():
        agency.hotel.OpenHotel(OpenHotel(hotel=hotel, rooms=rooms))
    agency.flight.OpenFlight(OpenFlight(flight="bn-17", seats=SEATS))
    for car in CARS:
        agency.car.AddCar(AddCar(car=car))
    for account in (*FUNDS_MINOR, AGENCY):
        agency.bank.OpenAccount(OpenAccount(account=account, currency=CURRENCY))
    for account, amount_minor in FUNDS_MINOR.items():
        agency.bank.Deposit(Deposit(account=account, amount_minor=amount_minor, currency=CURRENCY))


def wishes() -> Iterator[BookTrip]:
    """Trips, from a seed."""
    chance = Random(SEED)
    for number in range(1, TRIPS + 1):
        yield BookTrip(
            trip=f"t-{number:02}",
            traveller=chance.choice(list(FUNDS_MINOR)),
            hotel=chance.choice(["ritz", "ritz", "full"]),
            flight="bn-17",
            car=chance.choice(["", *CARS]),
            price_minor=PRICE_MINOR,
            currency=CURRENCY,
        )


def wait_for(agency: Agency, trip: str) -> str:
    """How it ended; its traveller reads the mail meanwhile, for a full mailbox holds a trip up."""
    while (view := agency.travel.GetTrip(GetTrip(trip=trip))).status not in ENDS:
        for traveller in FUNDS_MINOR:
            agency.travel.ReadMail(ReadMail(traveller=traveller))
        time.sleep(POLL_S)
    return view.reason or "booked"


def wait_in_vain(agency: Agency) -> str:
    """How a trip ends whose airline answers too late."""
    airline = agency.services["flight"]
    airline.send(signal.SIGSTOP)
    try:
        agency.travel.BookTrip(LATE)
        time.sleep(STANDS_STILL_S)
    finally:
        airline.send(signal.SIGCONT)
    return wait_for(agency, LATE.trip)


def count(agency: Agency) -> str:
    """What is left.  Raises `AssertionError` unless as many rooms and seats are taken as were paid for."""
    hotel = agency.hotel.GetHotel(GetHotel(hotel="ritz"))
    flight = agency.flight.GetFlight(GetFlight(flight="bn-17"))
    has_minor = {
        name: agency.bank.GetAccount(GetAccount(account=name)).balance_minor for name in (*FUNDS_MINOR, AGENCY)
    }
    booked = len(hotel.booked)
    assert sorted(hotel.booked) == sorted(flight.booked), "a room without a seat, or a seat without a room"
    assert [*hotel.reserved, *flight.reserved] == [], "something stays reserved"
    assert has_minor[AGENCY] == booked * PRICE_MINOR, "the agency has not what was paid"
    assert sum(has_minor.values()) == sum(FUNDS_MINOR.values()), "money is lost"
    return f"{booked} trips booked, {hotel.free} rooms and {flight.free} seats free, accounts: {has_minor}"


def main() -> None:
    """All of it."""
    typer.echo("starting the CServers of five apps, and Saga ...")
    with tempfile.TemporaryDirectory(prefix="bennu-travel-") as folder, Agency(Path(folder)) as agency:
        furnish(agency)
        asked = list(wishes())
        for trip in asked:
            agency.travel.BookTrip(trip)
        for trip in asked:
            wish = f"{trip.traveller} to {trip.hotel}" + (f" by {trip.car}" if trip.car else "")
            typer.echo(f"{trip.trip}  {wish:24}  {wait_for(agency, trip.trip)}")
        typer.echo(
            f"the airline stands still for {STANDS_STILL_S} s, and a trip waits {ANSWER_WITHIN_MS // 1000} s ..."
        )
        typer.echo(f"{LATE.trip}  {wait_in_vain(agency)}")
        typer.echo(count(agency))


if __name__ == "__main__":
    main()
