"""The tables of sagas against the fold that Saga itself makes of the same records."""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random

import pytest

from bennu.v1.saga_pb2 import SagaCommandAnswered, SagaCommandIssued, SagaInputPart, SagaTimerFired
from bennu_qserver.saga_projection import CLOSING, COMPENSATION, FORWARD, CommandPlace, place_of
from bennu_saga import state
from bennu_saga.fold import Record, SagaFold
from bennu_saga.issuing import command_id_of
from bennu_saga.moves import Move
from bennu_saga.state import SagaState, StepState
from tests.qserver.sagas import Row, SagaJournal, shown, tables
from tests.qserver.serving import connected
from tests.saga.test_any_saga import lived
from tests.saga.test_fold import replayed

SEED = 20_261_125
SAGAS = 60
STOP_EVERY = 15
WORDS: dict[int, str] = {
    state.RUNNING: "running",
    state.COMPENSATING: "compensating",
    state.COMPLETED: "completed",
    state.COMPENSATED: "compensated",
    state.COMPENSATION_FAILED: "compensation_failed",
}
ROLES: dict[int, str] = {state.FORWARD: FORWARD, state.COMPENSATION: COMPENSATION, state.CLOSING: CLOSING}
PHASES = {
    state.ASKED: ("asked", "awaits_event"),
    state.RESTING: ("resting",),
    state.DONE: ("done", "skipped"),
    state.LEFT_OUT: ("left_out", "skipped"),
    state.UNDONE: ("undone", "skipped"),
}
"""How the phases of steps that go on, or are over, are shown."""


def parts_of_lives(count: int) -> dict[str, list[Record]]:
    """The records of so many sagas, by id, each up to any of them."""
    print(f"seed {SEED}")
    lives = {}
    for seed in range(SEED, SEED + count):
        saga_id, records = f"Told:t{seed}", lived(seed).records
        for record in records:
            if not isinstance(record, SagaInputPart):
                record.saga_id = saga_id
            if isinstance(record, SagaCommandIssued | SagaCommandAnswered | SagaTimerFired):
                record.command_id = record.command_id.replace(":t:", f":t{seed}:")
        lives[saga_id] = records[: Random(seed).randint(1, len(records))]
    return lives


async def projected(journal: SagaJournal, dsn: str, lives: Mapping[str, Sequence[Record]]) -> dict[str, list[Row]]:
    """The tables of these lives, one after another; QServer begins again on the way, and batches come twice."""
    chance = Random(SEED)
    await journal.begin()
    for number, records in enumerate(lives.values()):
        last = await journal.cut_up(records, chance)
        if number % STOP_EVERY == 0:
            await journal.writer.append(last)
            async with shown(journal, dsn):
                pass
    async with shown(journal, dsn) as connection:
        return await tables(connection)


def check_saga(row: Row, fold: SagaFold, saga_id: str) -> None:
    """A row of `sagas` says what the fold holds, or that it has ended."""
    found = fold.sagas.get(saga_id)
    if found is None:
        assert row["status"] in ("completed", "compensated")
        assert row["ended_at"]
        return
    assert row["status"] == WORDS[found.status]
    assert (row["parked"] or "") == found.parked
    assert row["turned_back"] is (found.status != state.RUNNING)
    assert row["instance"] == found.instance


def check_step(row: Row, step: StepState, saga: SagaState) -> None:
    """A row of `saga_steps` says how far a step is that goes on, or is over."""
    if step.phase in PHASES:
        assert row["phase"] in PHASES[step.phase]
    if step.phase in (state.ASKED, state.RESTING):
        assert (row["awaited"] or "") == step.awaited
        assert (row["role"], row["attempts"]) == (ROLES[step.role], step.attempt + 1)
    elif saga.status == state.RUNNING and not saga.parked:
        assert row["phase"] not in ("asked", "resting")


async def compared(dsn: str) -> None:
    """Both folds of the same lives."""
    lives = parts_of_lives(SAGAS)
    found = await projected(SagaJournal(), dsn, lives)
    sagas = {row["saga_id"]: row for row in found["sagas"]}
    steps = {(row["saga_id"], row["step"]): row for row in found["saga_steps"]}
    assert len(sagas) == SAGAS
    for saga_id, records in lives.items():
        fold = replayed(records)
        check_saga(sagas[saga_id], fold, saga_id)
        if saga := fold.sagas.get(saga_id):
            for number, step in enumerate(saga.steps):
                if step != StepState():
                    check_step(steps[saga_id, number], step, saga)
    assert len({row["status"] for row in sagas.values()}) >= 3, "chance drew too few kinds"
    assert len({row["phase"] for row in steps.values()}) >= 6


@pytest.mark.real
def test_the_tables_are_what_saga_holds(database: str) -> None:
    """At any moment of any saga, each step that goes on or is over is shown as Saga has it, and so is its saga."""
    asyncio.run(compared(database))


async def rebuilt(dsn: str) -> None:
    """As operators are told to: schema and positions are dropped, and QServer begins at the start."""
    journal, lives = SagaJournal(), parts_of_lives(2 * STOP_EVERY)
    before = await projected(journal, dsn, lives)
    async with connected(dsn) as connection:
        await connection.execute("DROP SCHEMA bank CASCADE; DELETE FROM bennu.positions")
    async with shown(journal, dsn) as connection:
        assert await tables(connection) == before


@pytest.mark.real
def test_a_rebuild_gives_the_same(database: str) -> None:
    """From the beginning of the journal the same rows come out, to the microsecond."""
    asyncio.run(rebuilt(database))


@pytest.mark.parametrize("saga_id", ["TransferSaga:t", "S:a:1-2:0f", "S:" + "x" * 300, "S:\0", "hotel/S:t"])
@pytest.mark.parametrize("attempt", [0, 12])
def test_a_commands_id_says_where_it_belongs(saga_id: str, attempt: int) -> None:
    """What Saga makes an id of, QServer reads from it, whatever the saga is called."""
    for role, word in ROLES.items():
        found = place_of(command_id_of(saga_id, "hotel-0-4711", Move(role, 17), attempt=attempt))
        assert found == CommandPlace("hotel-0-4711", 17, word, attempt)


def test_another_id_says_nothing() -> None:
    """And is none the worse for it."""
    assert place_of("saga:something else") is None
