"""What asks for a rebuild, and what does not; and how those that build give way."""

import asyncio
from dataclasses import replace

import pytest

from bank.v1.events_pb2 import Withdrawn
from bennu.domain import App, EventMeta, Projection, Rows, Table, projects
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.limits import BEHIND_S
from bennu_qserver.pace import Pace
from tests.builds import app_new, app_old
from tests.builds.messages import BOXES, Filled1, Filled3
from tests.qserver.loops import bank_with
from tests.qserver.managed import Marks, Marks2

MARKS, SUMS = Marks.tables
FIRST, *REST = MARKS.columns


def declaration_of(projection: type[Projection], declared: App | None = None) -> str:
    """The hash."""
    (compiled,) = compile_projections(declared or bank_with(projection))
    return compiled.declaration


def with_tables(*tables: Table) -> type[Projection]:
    """The same rules."""
    return type("Other", (Marks,), {"tables": tables})


class Withdrawals(Marks):
    """Another type of events is shown."""

    @projects
    def withdrawn(self, event: Withdrawn, rows: Rows, meta: EventMeta) -> None:
        """As a deposit."""


@pytest.mark.parametrize(
    "other",
    [
        Marks2,
        Withdrawals,
        with_tables(replace(MARKS, columns=(*REST, FIRST)), SUMS),
        with_tables(replace(MARKS, columns=(FIRST, *REST[:-1], replace(REST[-1], nullable=True))), SUMS),
        with_tables(replace(MARKS, indexes=(("amount",),)), SUMS),
        with_tables(replace(MARKS, key=("seq", "partition")), SUMS),
        with_tables(MARKS),
    ],
)
def test_a_change_asks_for_a_rebuild(other: type[Projection]) -> None:
    """Version, event types, order and kind of columns, indexes, keys, tables."""
    assert declaration_of(other) != declaration_of(Marks)


@pytest.mark.parametrize(
    "other",
    [
        with_tables(SUMS, MARKS),
        with_tables(replace(MARKS, owner="partition"), SUMS),
        with_tables(replace(MARKS, comment="told"), SUMS),
        with_tables(replace(MARKS, columns=(replace(FIRST, comment="told"), *REST)), SUMS),
    ],
)
def test_a_comment_asks_for_nothing(other: type[Projection]) -> None:
    """Nor does the order of tables, nor the owner, which changes no row."""
    assert declaration_of(other) == declaration_of(Marks)


class OfOld(Projection):
    """By the older build."""

    name = "boxes"
    tables = (replace(SUMS, owner="account"),)

    @projects
    def filled(self, event: Filled1, rows: Rows, meta: EventMeta) -> None:
        """Whatever it shows."""


class OfNew(Projection):
    """By the newer build, which reads the older type through two upcasts."""

    name = "boxes"
    tables = (replace(SUMS, owner="account"),)

    @projects
    def filled(self, event: Filled3, rows: Rows, meta: EventMeta) -> None:
        """Whatever it shows."""


def test_a_new_version_of_an_event_asks_for_nothing() -> None:
    """What was shown of the old one is shown of it now, through its upcasts."""
    old = App("builds", service=BOXES, aggregates=(app_old.BoxRules,), projections=(OfOld,))
    upcasters = (app_new.first, app_new.second)
    new = App("builds", service=BOXES, aggregates=(app_new.BoxRules,), upcasters=upcasters, projections=(OfNew,))
    assert declaration_of(OfOld, old) == declaration_of(OfNew, new)


class Waits:
    """Live loops whose work waits so long, one look after another."""

    def __init__(self, *looks: float) -> None:
        self.looks = list(looks)

    def __call__(self) -> list[float]:
        return [0.0, self.looks.pop(0)]


def test_what_is_built_rests_while_live_work_waits() -> None:
    """It goes on at the first look that finds no live loop behind."""
    waits = Waits(2 * BEHIND_S, 2 * BEHIND_S, 2 * BEHIND_S, BEHIND_S / 2, 0.0)
    asyncio.run(Pace(waits).give_way())
    assert waits.looks == [0.0]


def test_what_is_built_does_not_rest_for_ever() -> None:
    """A live loop that stays behind, whatever keeps it, slows a rebuild and does not stop it."""
    asyncio.run(Pace(lambda: [2 * BEHIND_S]).give_way())
