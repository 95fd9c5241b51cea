"""The agency, assembled: `--app travel.app:app`.  It runs beside its participants, each a CServer of its own."""

from bank.app import app as bank
from bennu.domain import App
from travel.car.app import app as car
from travel.flight.app import app as flight
from travel.hotel.app import app as hotel
from travel.mailbox import MailboxRules
from travel.saga import TripSaga
from travel.scenarios import SOLD_OUT, TOO_DEAR, TRIP
from travel.trip import TripRules
from travel.v1 import travel_pb2
from travel.v1.travel_pb2 import BookTrip

app = App(
    "travel",
    service=travel_pb2.DESCRIPTOR.services_by_name["Travel"],
    aggregates=(TripRules, MailboxRules),
    sagas=(TripSaga,),
    participants=(hotel, flight, car, bank),
    scenarios=(TRIP, SOLD_OUT, TOO_DEAR),
    example=BookTrip(trip="t-1", traveller="ann", hotel="ritz", flight="bn-17", price_minor=70_000, currency="EUR"),
)
