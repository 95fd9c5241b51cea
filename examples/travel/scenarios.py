"""What `bennu explore` lets a trip live through, with all five apps in one world."""

from bank.account import Account
from bank.v1.commands_pb2 import Deposit, OpenAccount
from bennu.domain import Scenario, State, States
from travel.car.app import Car
from travel.car.v1.car_pb2 import AddCar
from travel.flight.app import Flight
from travel.flight.v1.flight_pb2 import OpenFlight
from travel.hotel.app import Hotel
from travel.hotel.v1.hotel_pb2 import OpenHotel
from travel.saga import AGENCY
from travel.trip import BOOKED, FAILED, REQUESTED, Trip
from travel.v1.travel_pb2 import BookTrip

PAID_IN_MINOR, PRICE_MINOR = 1_000, 700
"""What ann has; what a trip takes."""


def all_or_nothing(states: States) -> None:
    """Room, seat and car are taken and paid for, or none of it; nothing stays reserved, and no money is lost."""
    hotel, flight, car = (_only(states, rules) for rules in ("HotelRules", "FlightRules", "CarRules"))
    assert isinstance(hotel, Hotel)
    assert isinstance(flight, Flight)
    assert isinstance(car, Car)
    booked = bool(hotel.booked)
    found = (hotel.reserved, hotel.booked, flight.reserved, flight.booked, car.trip, car.rented)
    wanted = ((), ("t",), (), ("t",), "t", True) if booked else ((), (), (), (), "", False)
    assert found == wanted, f"of hotel, flight and car is left: {found}"
    paid_minor = PRICE_MINOR if booked else 0
    balances = tuple(_balance(states["AccountRules"][name]) for name in ("ann", AGENCY))
    assert balances == (PAID_IN_MINOR - paid_minor, paid_minor), f"{balances}, and the trip is booked: {booked}"
    trip = _only(states, "TripRules")
    assert isinstance(trip, Trip)
    assert trip.status in (REQUESTED, BOOKED if booked else FAILED), f"the traveller hears of {trip}, booked: {booked}"


def _only(states: States, rules: str) -> State:
    (found,) = states[rules].values()
    return found


def _balance(account: State) -> int:
    assert isinstance(account, Account)
    return account.balance_minor


def trip(name: str, *, rooms: int = 1, price_minor: int = PRICE_MINOR, end: str = "completed") -> Scenario:
    """The trip `t` of ann, to a hotel with so many rooms, and how it ends where nobody disturbs it."""
    return Scenario(
        name,
        given=(
            OpenHotel(hotel="ritz", rooms=rooms),
            OpenFlight(flight="bn-17", seats=1),
            AddCar(car="beetle"),
            OpenAccount(account="ann", currency="EUR"),
            OpenAccount(account=AGENCY, currency="EUR"),
            Deposit(account="ann", currency="EUR", amount_minor=PAID_IN_MINOR),
        ),
        when=BookTrip(
            trip="t",
            traveller="ann",
            hotel="ritz",
            flight="bn-17",
            car="beetle",
            price_minor=price_minor,
            currency="EUR",
        ),
        check=all_or_nothing,
        ends=(end,),
    )


TRIP = trip("Trip")
SOLD_OUT = trip("SoldOut", rooms=0, end="compensated")
TOO_DEAR = trip("TooDear", price_minor=PAID_IN_MINOR + 1, end="compensated")
