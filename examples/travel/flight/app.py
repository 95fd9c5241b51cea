"""Flights, whose seats are reserved for a trip, and then booked or given back."""

from bennu.domain import Aggregate, App, Rejection, State, answers, decides, evolves
from travel.flight.v1 import flight_pb2
from travel.flight.v1.flight_pb2 import (
    BookSeat,
    FlightOpened,
    FlightView,
    GetFlight,
    OpenFlight,
    ReleaseSeat,
    ReserveSeat,
    SeatBooked,
    SeatReleased,
    SeatReserved,
)


class Flight(State):
    """Trips have its seats."""

    opened: bool = False
    seats: int = 0
    reserved: tuple[str, ...] = ()
    booked: tuple[str, ...] = ()

    @property
    def free(self) -> int:
        """Seats that no trip has."""
        return self.seats - len(self.reserved) - len(self.booked)


class FlightRules(Aggregate[Flight]):
    """What a flight accepts, and how it changes."""

    @decides
    def open(self, state: Flight, command: OpenFlight) -> FlightOpened | Rejection:
        if state.opened:
            return Rejection("flight_exists", "a flight was already opened under this name")
        return FlightOpened(flight=command.flight, seats=command.seats)

    @decides
    def reserve(self, state: Flight, command: ReserveSeat) -> SeatReserved | Rejection:
        if not state.opened:
            return Rejection("flight_unknown", "no flight was opened under this name")
        if command.trip in state.reserved or command.trip in state.booked:
            return Rejection("already_reserved", "the trip has a seat here")
        if not state.free:
            return Rejection("sold_out", f"all {state.seats} seats are taken")
        return SeatReserved(flight=command.flight, trip=command.trip)

    @decides
    def book(self, state: Flight, command: BookSeat) -> SeatBooked | Rejection:
        if command.trip not in state.reserved:
            return Rejection("not_reserved", "the trip has no seat reserved here")
        return SeatBooked(flight=command.flight, trip=command.trip)

    @decides
    def release(self, state: Flight, command: ReleaseSeat) -> SeatReleased | Rejection:
        if command.trip not in state.reserved:
            return Rejection("not_reserved", "the trip has no seat reserved here")
        return SeatReleased(flight=command.flight, trip=command.trip)

    @evolves
    def was_opened(self, state: Flight, event: FlightOpened) -> None:
        state.opened = True
        state.seats = event.seats

    @evolves
    def was_reserved(self, state: Flight, event: SeatReserved) -> None:
        state.reserved += (event.trip,)

    @evolves
    def was_booked(self, state: Flight, event: SeatBooked) -> None:
        state.reserved = without(state.reserved, event.trip)
        state.booked += (event.trip,)

    @evolves
    def was_released(self, state: Flight, event: SeatReleased) -> None:
        state.reserved = without(state.reserved, event.trip)

    @answers
    def get(self, state: Flight, query: GetFlight) -> FlightView | Rejection:
        if not state.opened:
            return Rejection("flight_unknown", "no flight was opened under this name")
        return FlightView(
            flight=query.flight, seats=state.seats, free=state.free, reserved=state.reserved, booked=state.booked
        )


def without(trips: tuple[str, ...], trip: str) -> tuple[str, ...]:
    """The others."""
    return tuple(other for other in trips if other != trip)


app = App(
    "flight",
    service=flight_pb2.DESCRIPTOR.services_by_name["Flight"],
    aggregates=(FlightRules,),
    callers=("travel",),
    example=OpenFlight(flight="bn-17", seats=180),
)
