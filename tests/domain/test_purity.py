"""Rules that are no functions of what they are given are caught by given / when / then, each by name and place."""

import datetime as dates
import os
import random
import secrets
import time
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from random import choice
from time import time_ns

import pytest

from bank.v1.commands_pb2 import Deposit, Withdraw
from bank.v1.events_pb2 import Deposited, Withdrawn
from bennu.domain import Aggregate, State, decides, evolves
from bennu.testing import given

READS: dict[str, tuple[Callable[[], object], str]] = {
    "the time": (lambda: time.time(), "time.time"),  # noqa: PLW0108 - what is looked up when it is called is the point
    "an imported clock": (lambda: time_ns(), "time.time_ns"),  # noqa: PLW0108 - as above
    "a monotonic clock": (lambda: time.monotonic_ns(), "time.monotonic_ns"),  # noqa: PLW0108 - as above
    "the local time": (lambda: time.localtime().tm_year, "time.localtime"),
    "now": (lambda: dates.datetime.now(UTC).year, "datetime.now"),
    "an imported now": (lambda: datetime.now(tz=UTC).year, "datetime.now"),
    "today": (lambda: date.today().year, "date.today"),  # noqa: DTZ011 - that is the fault
    "chance": (lambda: random.random(), "random.random"),  # noqa: PLW0108 - as above
    "an imported choice": (lambda: choice((1, 2)), "random.choice"),
    "chance of its own": (lambda: random.Random().random(), "random.Random.. without a seed"),
    "the system's chance": (lambda: random.SystemRandom().random(), "random.SystemRandom or secrets"),
    "a secret": (lambda: secrets.token_hex(4), "random.SystemRandom or secrets|os.urandom"),
    "an id": (lambda: uuid.uuid4(), "uuid.uuid4"),  # noqa: PLW0108 - as above
    "an id of this host": (lambda: uuid.uuid1(), "uuid.uuid1"),  # noqa: PLW0108 - as above
    "noise": (lambda: os.urandom(1), "os.urandom"),
}
"""Read and thrown away: nothing that the rule says differs, and it is caught all the same."""

PURE: dict[str, Callable[[], object]] = {
    "a time that it was given": lambda: datetime.fromtimestamp(1_800_000_000, tz=UTC).isoformat(),
    "a date of its own": lambda: (
        isinstance(dates.date(2026, 11, 25), dates.date) and isinstance(date(2026, 1, 1), date)
    ),
    "a time taken apart": lambda: time.gmtime(0).tm_year,
    "chance from a seed": lambda: random.Random(7).random(),
    "an id from a name": lambda: uuid.uuid5(uuid.NAMESPACE_URL, "bank"),
}


class Box(State):
    """Numbers."""

    content: int = 0
    names: set[str] = set()  # noqa: RUF012 - msgspec copies it for each state


class Rules(Aggregate[Box]):
    """The account's name says what is done beside the work."""

    calls = 0

    @decides
    def put(self, state: Box, command: Deposit) -> Deposited:
        _do(command.account)
        return Deposited(account=command.account)

    @decides
    def meddle(self, state: Box, command: Withdraw) -> Withdrawn:
        command.amount_minor += 1
        return Withdrawn(account=command.account)

    @evolves
    def was_put(self, state: Box, event: Deposited) -> None:
        if event.transfer == "evolve":
            _do(event.account)
        state.names |= {"one", "two", event.account}
        if event.account == "memory":
            type(self).calls += 1
            state.content = self.calls
        elif event.account == "address":
            state.content = id(state)

    @evolves
    def taken(self, state: Box, event: Withdrawn) -> None:
        event.amount_minor += 1


def _do(account: str) -> None:
    (READS[account][0] if account in READS else PURE[account])()


@pytest.mark.parametrize("name", READS)
def test_a_rule_that_reads_what_it_was_not_given_is_named(name: str) -> None:
    """While deciding or evolving, wherever the name came from: rule, source, file and line."""
    said = rf"reads ({READS[name][1]}) at {__file__}:\d+; time, identity and chance are given"
    with pytest.raises(AssertionError, match=rf"Rules\.put {said}"):
        given(Rules).when(Deposit(account=name))
    with pytest.raises(AssertionError, match=rf"Rules\.was_put {said}"):
        given(Rules, Deposited(account=name, transfer="evolve"))


@pytest.mark.parametrize("name", PURE)
def test_a_rule_that_only_reckons_passes(name: str) -> None:
    """A time, a date, an id or a seed that was given is no clock."""
    event = Deposited(account=name, transfer="evolve")
    given(Rules, event).when(Deposit(account=name)).then(Deposited(account=name))


@pytest.mark.parametrize("name", ["memory", "address"])
def test_an_event_that_makes_two_states_is_named(name: str) -> None:
    """What differs is shown; the order of a set is no difference."""
    with pytest.raises(
        AssertionError, match=r"Rules\.was_put makes two states of the same(.|\n)*first: +{'content': \d+}"
    ):
        given(Rules, Deposited(account=name))


def test_what_a_rule_is_asked_stays_as_it_is() -> None:
    """Neither the command nor the event is a rule's to change."""
    with pytest.raises(AssertionError, match=r"Rules\.meddle changed what it was asked: .Withdraw\(account='a'"):
        given(Rules).when(Withdraw(account="a"))
    with pytest.raises(AssertionError, match=r"Rules\.taken changed the event: Withdrawn\(account='a'"):
        given(Rules, Withdrawn(account="a"))


def test_nothing_is_watched_afterwards() -> None:
    """Names are put back, also after a rule was caught."""
    before = (time.time, time_ns, datetime, dates.datetime, choice, os.urandom, uuid.uuid4)
    with pytest.raises(AssertionError, match="reads"):
        given(Rules).when(Deposit(account="noise"))
    assert (time.time, time_ns, datetime, dates.datetime, choice, os.urandom, uuid.uuid4) == before
