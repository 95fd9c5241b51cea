"""What carries a trip out: hotel, flight and car at the same time, then the payment, and from there only forward.

    reserve a room, a seat, a car ──► pay ──► book the room and the seat, rent the car ──► pay the agency ──► notify

Each of the first three may refuse, or not answer in time: then what was reserved is released.  So it is when the
payment is refused.  Once that is done nothing may be: a mailbox that is full is tried again until its owner has read.
"""

from bank.v1.commands_pb2 import Deposit, Withdraw
from bennu.domain import Parallel, Retry, Saga, Step, Tcc
from travel.car.v1.car_pb2 import ReleaseCar, RentCar, ReserveCar
from travel.flight.v1.flight_pb2 import BookSeat, ReleaseSeat, ReserveSeat
from travel.hotel.v1.hotel_pb2 import BookRoom, ReleaseRoom, ReserveRoom
from travel.v1.travel_pb2 import CompleteTrip, FailTrip, Notify, TripRequested

AGENCY = "travel-agency"
"""Its account in the bank."""
ANSWER_WITHIN_MS = 10_000


def reserve_room(asked: TripRequested) -> ReserveRoom:
    return ReserveRoom(hotel=asked.hotel, trip=asked.trip)


def book_room(asked: TripRequested) -> BookRoom:
    return BookRoom(hotel=asked.hotel, trip=asked.trip)


def release_room(asked: TripRequested) -> ReleaseRoom:
    return ReleaseRoom(hotel=asked.hotel, trip=asked.trip)


def reserve_seat(asked: TripRequested) -> ReserveSeat:
    return ReserveSeat(flight=asked.flight, trip=asked.trip)


def book_seat(asked: TripRequested) -> BookSeat:
    return BookSeat(flight=asked.flight, trip=asked.trip)


def release_seat(asked: TripRequested) -> ReleaseSeat:
    return ReleaseSeat(flight=asked.flight, trip=asked.trip)


def reserve_car(asked: TripRequested) -> ReserveCar:
    return ReserveCar(car=asked.car, trip=asked.trip)


def rent_car(asked: TripRequested) -> RentCar:
    return RentCar(car=asked.car, trip=asked.trip)


def release_car(asked: TripRequested) -> ReleaseCar:
    return ReleaseCar(car=asked.car, trip=asked.trip)


def wants_car(asked: TripRequested) -> bool:
    return bool(asked.car)


def charge(asked: TripRequested) -> Withdraw:
    return Withdraw(account=asked.traveller, amount_minor=asked.price_minor, currency=asked.currency)


def credit(asked: TripRequested) -> Deposit:
    return Deposit(account=AGENCY, amount_minor=asked.price_minor, currency=asked.currency)


def notify(asked: TripRequested) -> Notify:
    return Notify(traveller=asked.traveller, trip=asked.trip)


class TripSaga(Saga[TripRequested]):
    """A command's type says which app it goes to."""

    steps = (
        Parallel(
            Tcc("room", reserve_room, confirm=book_room, cancel=release_room, timeout_ms=ANSWER_WITHIN_MS),
            Tcc("seat", reserve_seat, confirm=book_seat, cancel=release_seat, timeout_ms=ANSWER_WITHIN_MS),
            Tcc("car", reserve_car, confirm=rent_car, cancel=release_car, timeout_ms=ANSWER_WITHIN_MS, when=wants_car),
        ),
        Step("payment", charge, pivot=True),
        Step("revenue", credit),
        Step("notify", notify, retry=Retry(limit=30, first_ms=500)),
    )

    def key(self, trigger: TripRequested) -> str:
        return trigger.trip

    def completed(self, trigger: TripRequested) -> CompleteTrip:
        return CompleteTrip(trip=trigger.trip)

    def failed(self, trigger: TripRequested, reason: str) -> FailTrip:
        return FailTrip(trip=trigger.trip, reason=reason)
