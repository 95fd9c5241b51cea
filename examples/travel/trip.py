"""A trip as its traveller sees it: asked for, and then booked or failed."""

from bennu.domain import Aggregate, Rejection, State, answers, decides, evolves
from travel.v1.travel_pb2 import (
    BookTrip,
    CompleteTrip,
    FailTrip,
    GetTrip,
    TripBooked,
    TripFailed,
    TripRequested,
    TripStatus,
    TripView,
)

NEVER, REQUESTED, BOOKED, FAILED = (
    TripStatus.TRIP_STATUS_UNSPECIFIED,
    TripStatus.TRIP_STATUS_REQUESTED,
    TripStatus.TRIP_STATUS_BOOKED,
    TripStatus.TRIP_STATUS_FAILED,
)


class Trip(State):
    """How far it got."""

    status: int = NEVER
    reason: str = ""


class TripRules(Aggregate[Trip]):
    """The life of a trip."""

    @decides
    def book(self, state: Trip, command: BookTrip) -> TripRequested | Rejection:
        if state.status != NEVER:
            return Rejection("trip_exists", "a trip of this name was already asked for")
        return TripRequested(
            trip=command.trip,
            traveller=command.traveller,
            hotel=command.hotel,
            flight=command.flight,
            car=command.car,
            price_minor=command.price_minor,
            currency=command.currency,
        )

    @decides
    def complete(self, state: Trip, command: CompleteTrip) -> TripBooked | Rejection:
        if state.status != REQUESTED:
            return Rejection("trip_not_running", "only a requested trip can end")
        return TripBooked(trip=command.trip)

    @decides
    def fail(self, state: Trip, command: FailTrip) -> TripFailed | Rejection:
        if state.status != REQUESTED:
            return Rejection("trip_not_running", "only a requested trip can end")
        return TripFailed(trip=command.trip, reason=command.reason)

    @evolves
    def requested(self, state: Trip, event: TripRequested) -> None:
        state.status = REQUESTED

    @evolves
    def booked(self, state: Trip, event: TripBooked) -> None:
        state.status = BOOKED

    @evolves
    def failed(self, state: Trip, event: TripFailed) -> None:
        state.status = FAILED
        state.reason = event.reason

    @answers
    def get(self, state: Trip, query: GetTrip) -> TripView | Rejection:
        if state.status == NEVER:
            return Rejection("trip_unknown", "no trip was asked for under this name")
        return TripView(trip=query.trip, status=TripStatus.ValueType(state.status), reason=state.reason)
