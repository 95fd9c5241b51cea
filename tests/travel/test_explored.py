"""The travel example, explored: five apps in one world, whatever comes in whatever order."""

import pytest

from bennu.domain import NOTHING, App, Step
from bennu.explore.world import Model
from tests.explore.exploring import explored
from travel.app import app
from travel.mailbox import MailboxRules
from travel.saga import TripSaga, reserve_car, reserve_room
from travel.scenarios import SOLD_OUT
from travel.trip import TripRules

ENDS = {"Trip": {"completed", "compensated"}, "SoldOut": {"compensated"}, "TooDear": {"compensated"}}


def judged(scenario: str, *, faults: int, samples: int) -> None:
    """Nothing is wrong on any path."""
    found = explored(Model(app, app.scenarios[scenario], 1), faults=faults, samples=samples)
    assert found.failures == []
    assert found.complete
    assert set(found.ends) - {"parked"} == ENDS[scenario]


@pytest.mark.parametrize("scenario", ["Trip", "SoldOut"])
def test_a_trip_is_whole_or_nothing(scenario: str) -> None:
    """Every order of events with one fault: rooms, seats, cars and money are all there."""
    judged(scenario, faults=1, samples=0)


def test_a_trip_that_can_not_be_paid_for_is_given_back() -> None:
    """Three reservations are released, one after another, whatever happens meanwhile."""
    judged("TooDear", faults=0, samples=50)


def test_what_stays_reserved_is_found() -> None:
    """The check counts all apps: here a car is never given back, though the trip failed for want of a room."""

    class Careless(TripSaga):
        steps = (Step("car", reserve_car, compensation=NOTHING), Step("room", reserve_room))  # type: ignore[assignment]

    agency = App(
        app.name,
        service=app.service,
        aggregates=(TripRules, MailboxRules),
        sagas=(Careless,),
        participants=app.apps[1:],
    )
    found = explored(Model(agency, SOLD_OUT, 1), faults=0)
    assert any("of hotel, flight and car is left" in why and "'t'" in why for why, _ in found.failures)
