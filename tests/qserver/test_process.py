"""QServer as a process: a random history in two partitions becomes tables in a real Postgres."""

import asyncio
import json
import re
from functools import partial
from pathlib import Path

import pytest

import bennu.log
from bennu.ops.run import EXIT_BAD_SETTINGS
from tests.cli.shell import Ended, run
from tests.qserver.sagas import SagaJournal
from tests.qserver.serving import bank_world, connected, is_ready, metrics, qserver, started, until
from tests.saga.story import Story
from tests.service_process import Service

pytestmark = pytest.mark.real


async def projected(directory: Path, dsn: str) -> None:
    """The scenario of the first test."""
    async with bank_world(directory, dsn, seed=1, partitions=2) as world:
        service = qserver(directory, dsn, partitions=2)
        async with started(service):
            await world.write(100)
            await world.shown()
            assert await asyncio.to_thread(service.stop) == 0


async def of_other_partitions(directory: Path, dsn: str) -> list[str]:
    """The journal of one partition is read as one of two, of which one is not there; what the process says."""
    async with bank_world(directory, dsn, seed=2, partitions=1) as world:
        await world.write(3)
        service = qserver(directory, dsn, partitions=2)
        async with started(service):
            assert await asyncio.to_thread(service.wait) == EXIT_BAD_SETTINGS
            return service.lines()


def test_another_number_of_partitions_is_refused(tmp_path: Path, database: str) -> None:
    """The number of partitions is fixed when a journal is created: exit 78, with both numbers."""
    said = asyncio.run(of_other_partitions(tmp_path, database))
    assert "bank-events-0: the app has 1 partitions, but this process was told 2; " in said[-1]
    assert asyncio.run(places_in(database)) == 0


async def places_in(dsn: str) -> int:
    """How many positions the database holds, each of which would bind it to a number of partitions."""
    async with connected(dsn) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM bennu.positions"))


SHOWN = 'bennu_qserver_position_offset{app="bank",generation="1",partition="1",projection="sagas"} 2.0'


async def says(service: Service, line: str) -> bool:
    """Whether this line is among its metrics."""
    return line in await metrics(service)


async def only_sagas(directory: Path, dsn: str) -> None:
    """An app without projections, whose Saga has never run; then it has."""
    service = qserver(directory, dsn, partitions=2, app="tests.qserver.sagas:BANK")
    async with started(service), bennu.log.open(f"sqlite:{directory / 'log'}") as log, connected(dsn) as connection:
        await until(lambda: is_ready(service))
        journal, story = SagaJournal(log, partition=1, partitions=2), Story()
        story.starts()
        await journal.writer.epoch()
        await journal.tell(story)
        await until(lambda: connection.fetchval("SELECT EXISTS (SELECT FROM bank.sagas WHERE partition = 1)"))
        await until(lambda: says(service, SHOWN))
        assert await asyncio.to_thread(service.stop) == 0


def test_an_app_may_have_sagas_alone(tmp_path: Path, database: str) -> None:
    """Without projections, and before Saga has made its journals, QServer is ready; then it shows them."""
    asyncio.run(only_sagas(tmp_path, database))


def test_the_tables_show_the_journals(tmp_path: Path, database: str) -> None:
    """What QServer shows of a history is what two folds, written apart from it, make of the same history."""
    asyncio.run(projected(tmp_path, database))


async def asked(directory: Path, dsn: str, *arguments: object) -> Ended:
    """`bennu projections`, as a process; it gives its reason."""
    environ = {"BENNU_POSTGRES": dsn}
    told = ["projections", *arguments, *([] if arguments[0] in ("list", "resume") else ["--reason", "a drill"])]
    return await asyncio.to_thread(run, told, folder=directory, environ=environ)


async def rebuilt(directory: Path, dsn: str) -> None:
    """Rebuilt, switched back, dropped, paused: by the command line, under load, with two processes."""
    async with bank_world(directory, dsn, seed=3, partitions=4) as world:
        services = [qserver(directory, dsn, partitions=4, name=f"q{number}") for number in (1, 2)]
        nobody = await asked(directory, dsn, "list")
        assert (nobody.code, "no QServer of this version has been at this database" in nobody.error) == (1, True)
        async with started(*services):
            await asyncio.gather(*(until(partial(is_ready, service)) for service in services))
            await world.write(60)
            await world.shown()
            rebuilding = asyncio.create_task(asked(directory, dsn, "rebuild", "ledger", "--wait"))
            while not rebuilding.done():
                await world.write(1)
            ended = rebuilding.result()
            assert (ended.code, ended.out.splitlines()) == (
                0,
                [
                    "ledger: generation 2 is begun; QServer builds it and switches to it",
                    "ledger, generation 2: live",
                ],
            ), ended.err
            await world.shown()
            back = await asked(directory, dsn, "switch", "ledger", "--to", 1)
            assert (back.code, back.out) == (0, "ledger, generation 1: live\n"), back.err
            await world.write(5)
            await world.shown()
            dropped = await asked(directory, dsn, "drop", "ledger", "--generation", 2)
            assert (dropped.code, dropped.out) == (0, "ledger, generation 2: dropped\n"), dropped.err
            await said_of_projections(directory, dsn)
            await world.shown()
            assert [await asyncio.to_thread(service.stop) for service in services] == [0, 0]


async def said_of_projections(directory: Path, dsn: str) -> None:
    """What can't be done, and what is there."""
    for arguments, words in (
        (("drop", "ledger", "--generation", 1), "ledger: generation 1 is live"),
        (("switch", "ledger", "--to", 2), "ledger, generation 2: dropped; there are: 1 (live)"),
        (("rebuild", "leger"), "app `bank` has no projection leger; there are: ledger, sagas"),
        (("cancel", "ledger"), "ledger: no generation is built"),
    ):
        told = await asked(directory, dsn, *arguments)
        assert (told.code, told.error) == (1, words)
    assert (await asked(directory, dsn, "pause", "sagas")).code == 0
    listed = (await asked(directory, dsn, "list")).out
    assert re.search(r"ledger, generation 1: live, \d+ events\n  projected by: q1, q2\n", listed)
    assert re.search(r"sagas, generation 1: live, 0 events, paused by \S+: a drill\n", listed)
    assert (await asked(directory, dsn, "resume", "sagas")).out == "sagas: it goes on within two seconds\n"
    (ledger, _) = [json.loads(line) for line in (await asked(directory, dsn, "list", "--json")).out.splitlines()]
    assert (ledger["generation"], ledger["state"], ledger["able"]) == (1, "live", ["q1", "q2"])


def test_operators_rebuild_and_switch(tmp_path: Path, database: str) -> None:
    """`bennu projections` rebuilds beside live writes, switches there and back, and says what can't be done and why."""
    asyncio.run(rebuilt(tmp_path, database))
