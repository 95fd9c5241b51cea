"""The five apps on this machine, a CServer each, and the saga of the trips, over one embedded log.

    with Agency(folder) as agency:
        agency.hotel.OpenHotel(OpenHotel(hotel="ritz", rooms=20))
        agency.travel.BookTrip(BookTrip(trip="t-1", ...))

On RocketMQ it is the same: each app's topics are made with `bennu topics create`, each app is run by itself, and
`bennu saga --app travel.app:app` waits for all of them.
"""

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import grpc

from bank.v1.bank_pb2_grpc import BankStub
from bennu.stack.owned import Owned, side_by_side
from bennu.stack.service import STOP_GRACE_S, Service, clean_environ
from travel.car.v1.car_pb2_grpc import CarStub
from travel.flight.v1.flight_pb2_grpc import FlightStub
from travel.hotel.v1.hotel_pb2_grpc import HotelStub
from travel.v1.travel_pb2_grpc import TravelStub

APPS = {
    "travel": "travel.app:app",
    "hotel": "travel.hotel.app:app",
    "flight": "travel.flight.app:app",
    "car": "travel.car.app:app",
    "bank": "bank.app:app",
}
PARTITIONS = {"travel": 2, "hotel": 2, "flight": 1, "car": 3, "bank": 2}
"""Chosen by each app's team; the saga finds them in the journals."""
SAGA = "saga"


class Agency(Owned):
    """All of it.  `services` are called like the apps, and `saga`."""

    def __init__(self, folder: Path) -> None:
        self.services: dict[str, Service] = {}
        self._folder = folder.absolute()
        self._channels: dict[str, grpc.Channel] = {}
        self.log = f"sqlite:{self._folder / 'log'}"
        log = ["--log", self.log]
        for name, app in APPS.items():
            flags = ["--app", app, *log, "--partitions", str(PARTITIONS[name])]
            self._add(name, "cserver", [*flags, "--grpc", "127.0.0.1:0"])
        self._add(SAGA, "saga", ["--app", APPS["travel"], *log, "--partitions", str(PARTITIONS["travel"])])

    def _add(self, name: str, service: str, flags: list[str]) -> None:
        self.services[name] = Service(service, flags, self._folder / name, environ=clean_environ())

    def start(self) -> None:
        """Returns when all are ready."""
        starts: list[Callable[[], None]] = [partial(self.start_one, name) for name in self.services]
        side_by_side(starts, stop=self.stop)

    def start_one(self, name: str) -> None:
        """Start a service, for the first time or after it was killed; returns when it is ready."""
        service = self.services[name]
        (self._folder / name).mkdir(parents=True, exist_ok=True)
        service.start()
        service.wait_serving()
        if name != SAGA:
            if name in self._channels:
                self._channels[name].close()
            self._channels[name] = grpc.insecure_channel(service.addresses["grpc"])

    def stop(self) -> None:
        for channel in self._channels.values():
            channel.close()
        for service in self.services.values():
            service.send(signal.SIGTERM)
        for service in self.services.values():
            service.wait_ended(STOP_GRACE_S)

    @property
    def travel(self) -> TravelStub:
        return TravelStub(self._channels["travel"])

    @property
    def hotel(self) -> HotelStub:
        return HotelStub(self._channels["hotel"])

    @property
    def flight(self) -> FlightStub:
        return FlightStub(self._channels["flight"])

    @property
    def car(self) -> CarStub:
        return CarStub(self._channels["car"])

    @property
    def bank(self) -> BankStub:
        return BankStub(self._channels["bank"])
