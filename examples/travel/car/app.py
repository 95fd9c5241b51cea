"""Cars, each of which is reserved for one trip at a time, and then rented or given back."""

from bennu.domain import Aggregate, App, Rejection, State, answers, decides, evolves
from travel.car.v1 import car_pb2
from travel.car.v1.car_pb2 import (
    AddCar,
    CarAdded,
    CarReleased,
    CarRented,
    CarReserved,
    CarView,
    GetCar,
    ReleaseCar,
    RentCar,
    ReserveCar,
)


class Car(State):
    """Nobody's, or the trip's that has it."""

    added: bool = False
    trip: str = ""
    rented: bool = False


class CarRules(Aggregate[Car]):
    """What can be done with a car, and how it changes."""

    @decides
    def add(self, state: Car, command: AddCar) -> CarAdded | Rejection:
        if state.added:
            return Rejection("car_exists", "a car was already added under this name")
        return CarAdded(car=command.car)

    @decides
    def reserve(self, state: Car, command: ReserveCar) -> CarReserved | Rejection:
        if not state.added:
            return Rejection("car_unknown", "no car was added under this name")
        if state.trip:
            return Rejection("car_taken", "another trip has it")
        return CarReserved(car=command.car, trip=command.trip)

    @decides
    def rent(self, state: Car, command: RentCar) -> CarRented | Rejection:
        return _not_reserved(state, command.trip) or CarRented(car=command.car, trip=command.trip)

    @decides
    def release(self, state: Car, command: ReleaseCar) -> CarReleased | Rejection:
        return _not_reserved(state, command.trip) or CarReleased(car=command.car, trip=command.trip)

    @evolves
    def was_added(self, state: Car, event: CarAdded) -> None:
        state.added = True

    @evolves
    def was_reserved(self, state: Car, event: CarReserved) -> None:
        state.trip = event.trip

    @evolves
    def was_rented(self, state: Car, event: CarRented) -> None:
        state.rented = True

    @evolves
    def was_released(self, state: Car, event: CarReleased) -> None:
        state.trip = ""

    @answers
    def get(self, state: Car, query: GetCar) -> CarView | Rejection:
        if not state.added:
            return Rejection("car_unknown", "no car was added under this name")
        return CarView(car=query.car, trip=state.trip, rented=state.rented)


def _not_reserved(state: Car, trip: str) -> Rejection | None:
    if state.trip == trip and not state.rented:
        return None
    return Rejection("not_reserved", "the trip has not reserved it")


app = App(
    "car",
    service=car_pb2.DESCRIPTOR.services_by_name["Car"],
    aggregates=(CarRules,),
    callers=("travel",),
    example=AddCar(car="beetle"),
)
