"""Hotels, whose rooms are reserved for a trip, and then booked or given back."""

from bennu.domain import Aggregate, App, Rejection, State, answers, decides, evolves
from travel.hotel.v1 import hotel_pb2
from travel.hotel.v1.hotel_pb2 import (
    BookRoom,
    GetHotel,
    HotelOpened,
    HotelView,
    OpenHotel,
    ReleaseRoom,
    ReserveRoom,
    RoomBooked,
    RoomReleased,
    RoomReserved,
)


class Hotel(State):
    """Trips have its rooms."""

    opened: bool = False
    rooms: int = 0
    reserved: tuple[str, ...] = ()
    booked: tuple[str, ...] = ()

    @property
    def free(self) -> int:
        """Rooms that no trip has."""
        return self.rooms - len(self.reserved) - len(self.booked)


class HotelRules(Aggregate[Hotel]):
    """What a hotel accepts, and how it changes."""

    @decides
    def open(self, state: Hotel, command: OpenHotel) -> HotelOpened | Rejection:
        if state.opened:
            return Rejection("hotel_exists", "a hotel was already opened under this name")
        return HotelOpened(hotel=command.hotel, rooms=command.rooms)

    @decides
    def reserve(self, state: Hotel, command: ReserveRoom) -> RoomReserved | Rejection:
        if not state.opened:
            return Rejection("hotel_unknown", "no hotel was opened under this name")
        if command.trip in state.reserved or command.trip in state.booked:
            return Rejection("already_reserved", "the trip has a room here")
        if not state.free:
            return Rejection("sold_out", f"all {state.rooms} rooms are taken")
        return RoomReserved(hotel=command.hotel, trip=command.trip)

    @decides
    def book(self, state: Hotel, command: BookRoom) -> RoomBooked | Rejection:
        if command.trip not in state.reserved:
            return Rejection("not_reserved", "the trip has no room reserved here")
        return RoomBooked(hotel=command.hotel, trip=command.trip)

    @decides
    def release(self, state: Hotel, command: ReleaseRoom) -> RoomReleased | Rejection:
        if command.trip not in state.reserved:
            return Rejection("not_reserved", "the trip has no room reserved here")
        return RoomReleased(hotel=command.hotel, trip=command.trip)

    @evolves
    def was_opened(self, state: Hotel, event: HotelOpened) -> None:
        state.opened = True
        state.rooms = event.rooms

    @evolves
    def was_reserved(self, state: Hotel, event: RoomReserved) -> None:
        state.reserved += (event.trip,)

    @evolves
    def was_booked(self, state: Hotel, event: RoomBooked) -> None:
        state.reserved = without(state.reserved, event.trip)
        state.booked += (event.trip,)

    @evolves
    def was_released(self, state: Hotel, event: RoomReleased) -> None:
        state.reserved = without(state.reserved, event.trip)

    @answers
    def get(self, state: Hotel, query: GetHotel) -> HotelView | Rejection:
        if not state.opened:
            return Rejection("hotel_unknown", "no hotel was opened under this name")
        return HotelView(
            hotel=query.hotel, rooms=state.rooms, free=state.free, reserved=state.reserved, booked=state.booked
        )


def without(trips: tuple[str, ...], trip: str) -> tuple[str, ...]:
    """The others."""
    return tuple(other for other in trips if other != trip)


app = App(
    "hotel",
    service=hotel_pb2.DESCRIPTOR.services_by_name["Hotel"],
    aggregates=(HotelRules,),
    callers=("travel",),
    example=OpenHotel(hotel="ritz", rooms=20),
)
