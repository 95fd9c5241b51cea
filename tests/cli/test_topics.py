"""`bennu topics create | list` on the embedded log."""

import asyncio

import pytest

import bennu.log
from tests.cli.shell import BANK, Shell
from tests.journal_writer import JournalWriter


def topics(*numbers: int) -> list[str]:
    """The bank's, in order."""
    return ["bank-members"] + [f"bank-{kind}-{number}" for number in numbers for kind in ("events", "commands", "saga")]


def test_create_makes_what_is_missing(bennu: Shell) -> None:
    """Each partition has three logs, and all have one; asking again, or for more of what never began, keeps all."""
    for count in (1, 1, 3):
        told = bennu("topics", "create", "--app", BANK, "--partitions", count, "--json")
        assert (told.code, told.err) == (0, "")
        assert told.json == [{"name": name, "first": 0, "next": 0} for name in topics(*range(count))]
    assert sorted(path.name for path in (bennu.folder / ".bennu" / "log").glob("*.sqlite")) == sorted(
        f"{name}.sqlite" for name in topics(0, 1, 2)
    )


@pytest.mark.parametrize("count", [1, 3])
def test_create_keeps_to_what_the_journals_say(bennu: Shell, count: int) -> None:
    """Once a journal has begun, fewer or more partitions are refused, and nothing is made."""
    bennu("topics", "create", "--app", BANK, "--partitions", 2)
    asyncio.run(begun("bank-events-0", (0, 2)))
    before = sorted((bennu.folder / ".bennu" / "log").glob("*.sqlite"))
    assert bennu("topics", "create", "--app", BANK, "--partitions", 2).code == 0
    told = bennu("topics", "create", "--app", BANK, "--partitions", count)
    assert (told.code, told.out) == (78, "")
    assert told.error.startswith(f"bank-events-0: the app has 2 partitions, but this process was told {count}; ")
    assert sorted((bennu.folder / ".bennu" / "log").glob("*.sqlite")) == before


async def begun(topic: str, place: tuple[int, int]) -> None:
    """A journal with its first record."""
    partition, partitions = place
    async with bennu.log.open("sqlite:.bennu/log") as log:
        await JournalWriter(log, topic, partition=partition, partitions=partitions).epoch()


def test_list_shows_what_is_there(bennu: Shell) -> None:
    """With the offsets that are kept, for a program and for a person; it makes nothing."""
    assert bennu("topics", "list", "--app", BANK, "--json").json == []
    bennu("topics", "create", "--app", BANK)
    asyncio.run(two_records("bank-commands-0"))
    told = bennu("topics", "list", "--app", BANK, "--json")
    assert (told.code, told.err) == (0, "")
    assert told.json == [{"name": name, "first": 0, "next": 2 * (name == "bank-commands-0")} for name in topics(0)]
    lines = bennu("topics", "list", "--app", BANK).out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        ["bank-members", "records 0"],
        ["bank-events-0", "records 0"],
        ["bank-commands-0", "records 2, offsets 0 to 1"],
        ["bank-saga-0", "records 0"],
    ]


async def two_records(topic: str) -> None:
    async with bennu.log.open("sqlite:.bennu/log") as log:
        await log.append(topic, b"one")
        await log.append(topic, b"two")


def test_list_of_nothing_says_what_to_do(bennu: Shell) -> None:
    """No topic is no error: the app may be new."""
    told = bennu("topics", "list", "--app", BANK)
    assert told == (0, "no topic of this app is there: make them with `bennu topics create`\n", "")


def test_a_folder_that_cannot_be_made(bennu: Shell) -> None:
    """The path and the reason, in one message."""
    (bennu.folder / "in-the-way").write_text("")
    told = bennu("topics", "create", "--app", BANK, "--log", "sqlite:in-the-way")
    assert (told.code, told.out) == (78, "")
    assert told.error == "sqlite:in-the-way is no directory"
