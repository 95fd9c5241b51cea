"""`bennu topics create | list` on the embedded log."""

import asyncio

import bennu.log
from tests.cli.shell import BANK, Shell


def topics(*numbers: int) -> list[str]:
    """The bank's, in order."""
    return ["bank-members"] + [f"bank-{kind}-{number}" for number in numbers for kind in ("events", "commands", "saga")]


def test_create_makes_what_is_missing(bennu: Shell) -> None:
    """Each partition has three logs, and all have one; asking again, or for more partitions, keeps what is there."""
    for count in (1, 1, 3):
        told = bennu("topics", "create", "--app", BANK, "--partitions", count, "--json")
        assert (told.code, told.err) == (0, "")
        assert told.json == [{"name": name, "first": 0, "next": 0} for name in topics(*range(count))]
    assert sorted(path.name for path in (bennu.folder / ".bennu" / "log").glob("*.sqlite")) == sorted(
        f"{name}.sqlite" for name in topics(0, 1, 2)
    )


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
