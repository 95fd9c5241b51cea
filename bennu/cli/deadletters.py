"""`bennu deadletters`: events that could not be projected, and what is to become of them.

A wish is written into the table; the QServer that projects the partition carries it out, and it is waited for.
"""

import asyncio
import getpass
import json
import sys
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from bennu.cli.deadletters_shown import as_plain, event_of, print_became, print_letter, print_list
from bennu.cli.deadletters_table import PLACE, Refused, Row, Wanted, Wish, letters, place_of
from bennu.cli.options import AsJson, Config, load
from bennu.cli.sagas_options import Actor, DryRun, Limit
from bennu.errors import BennuError

POLL_S = 0.2

app = typer.Typer(help="See events that could not be projected, and retry or discard them.", no_args_is_help=True)


class StillParked(BennuError):
    """Not all that was to be applied is."""


class State(StrEnum):
    """Of letters."""

    PARKED = "parked"
    APPLIED = "applied"
    DISCARDED = "discarded"
    ALL = "all"


Place = Annotated[str, typer.Argument(metavar="[PLACE]", help=f"{PLACE}, or as much of its beginning as is meant.")]
Letter = Annotated[str, typer.Argument(metavar="LETTER", help=PLACE)]
Key = Annotated[str, typer.Option("--key", help="Only those about the aggregate with this key.")]
All = Annotated[bool, typer.Option("--all", help="Without PLACE: wherever they are.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stays in the table.")]
WaitS = Annotated[float, typer.Option("--wait-s", min=0, help="How long to wait until it is carried out.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
MaybeApp = Annotated[
    str, typer.Option("--app", envvar="BENNU_APP", help="module:attribute: shows what the event says.")
]


@app.command("list")
def list_letters(  # noqa: PLR0913  each is a flag
    place: Place = "",
    *,
    key: Key = "",
    state: State = State.PARKED,
    limit: Limit = 100,
    config: Config = "",
    as_json: AsJson = False,
) -> None:
    """Print dead letters in order, with what is wrong; with --json one object a line."""

    wanted = _wanted(place, key)

    async def find() -> tuple[Sequence[Row], int]:
        async with letters(config) as table:
            rows = await table.find(wanted, state=state, limit=limit)
            return rows, await table.count(wanted, state=state) - len(rows) if limit else 0

    rows, left_out = asyncio.run(find())
    if not as_json:
        print_list(rows)
    else:
        for row in rows:
            typer.echo(json.dumps({"letter": place_of(row), **as_plain(row)}))
    if left_out > 0:
        typer.echo(f"left out: {left_out} more; --limit says how many are shown, 0 shows all", err=True)


@app.command()
def show(letter: Letter, *, app_name: MaybeApp = "", config: Config = "", as_json: AsJson = False) -> None:
    """Print all that is known of one, and which events of its key wait behind it."""
    domain = load(app_name) if app_name else None
    wanted = _wanted(letter, "")
    if wanted.seq < 0:
        raise typer.BadParameter(f"one letter is {PLACE}, as `bennu deadletters list` prints it", param_hint="LETTER")

    async def find() -> tuple[Row, Sequence[Row]]:
        async with letters(config) as table:
            found = await table.find(wanted, state="all")
            if not found:
                raise Refused(f"no letter {letter} is there")
            same = await table.find(wanted._replace(seq=-1, key=found[0]["key"]), state="parked")
            (row,) = found
            return row, [each for each in same if each["seq"] > row["seq"] and each["aggregate"] == row["aggregate"]]

    row, behind = asyncio.run(find())
    event = event_of(row, domain)
    if as_json:
        plain = {
            "letter": place_of(row),
            **as_plain(row),
            "event_json": event,
            "behind": [each["seq"] for each in behind],
        }
        typer.echo(json.dumps(plain))
    else:
        print_letter(row, event, behind)


@app.command()
def retry(  # noqa: PLR0913  each is a flag
    place: Place = "",
    *,
    key: Key = "",
    everything: All = False,
    reason: Reason,
    actor: Actor = "",
    dry_run: DryRun = False,
    wait_s: WaitS = 30.0,
    config: Config = "",
) -> None:
    """Apply parked events again, in order, by the rules as they are now: of each key up to one that still fails."""
    wanted, by = _meant(place, key, everything=everything), _by(actor, reason)
    rows = _without_wish(asyncio.run(_first_of_keys(wanted, config)))
    if not rows:
        raise Refused("nothing is parked there")
    if dry_run:
        _would_begin(rows, "retry")
        return
    became = asyncio.run(_carried_out(rows, Wish("retry", *by), wait_s, config=config))
    if gone := len(rows) - len(became):
        raise StillParked(f"{gone} of {len(rows)} keys are there no more: their generation was dropped meanwhile")
    if left := sum(row["parked"] > 0 for row in became):
        raise StillParked(f"{left} of {len(rows)} keys have events that are still parked: see above")


@app.command()
def discard(  # noqa: PLR0913  each is a flag
    place: Place = "",
    *,
    key: Key = "",
    everything: All = False,
    reason: Reason,
    actor: Actor = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    wait_s: WaitS = 30.0,
    config: Config = "",
) -> None:
    """Leave events at fault out of the tables, for good; those behind them wait for `retry`."""
    wanted, by = _meant(place, key, everything=everything), _by(actor, reason)
    firsts = _without_wish(asyncio.run(_first_of_keys(wanted, config)))
    rows = [row for row in firsts if row["problem"] and wanted.seq in (-1, row["seq"])]
    if not rows:
        raise Refused(
            "no event that is parked there is at fault itself: only the first one of its key can be, and those behind "
            "it were never tried; `bennu deadletters list` shows problems, `retry` tries"
        )
    if dry_run:
        _would_begin(rows, "discard")
    elif _agreed(len(rows), yes=yes):
        asyncio.run(_carried_out(rows, Wish("discard", *by), wait_s, config=config))


def _wanted(place: str, key: str) -> Wanted:
    """Raises `typer.BadParameter`."""
    parts = place.split("/") if place else []
    numbers = parts[2:]
    if len(parts) > 5 or not all(part.isdecimal() for part in numbers) or not all(parts):
        raise typer.BadParameter(f"{place!r} is no place; one is {PLACE}, or its beginning", param_hint="PLACE")
    generation, partition, seq = [*map(int, numbers), -1, -1, -1][:3]
    app_name, projection = [*parts[:2], "", ""][:2]
    return Wanted(app_name, projection, generation, partition, seq, key)


def _meant(place: str, key: str, *, everything: bool) -> Wanted:
    if bool(place) == everything:
        raise typer.BadParameter("say where, by PLACE, or --all: one of them", param_hint="PLACE")
    return _wanted(place, key)


def _by(actor: str, reason: str) -> tuple[str, str]:
    if not reason.strip():
        raise typer.BadParameter("a decision has a reason; this one is empty", param_hint="--reason")
    return actor or getpass.getuser(), reason


def _without_wish(rows: Sequence[Row]) -> Sequence[Row]:
    """Those of which nothing is wished yet: of a generation that nobody projects, wishes wait."""
    free = [row for row in rows if row["wish"] is None]
    if rows and not free:
        raise Refused("somebody's wish is still open about all that is parked there: `bennu deadletters list` shows it")
    if left := len(rows) - len(free):
        typer.echo(f"left out: {left} keys about which somebody's wish is still open", err=True)
    return free


def _would_begin(rows: Sequence[Row], what: str) -> None:
    print_list(rows)
    typer.echo(f"{what} would begin at these; nothing was done", err=True)


def _agreed(count: int, *, yes: bool) -> bool:
    """Whether a person says so, where one is there."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked: say --yes, or --dry-run", param_hint="--yes")
    return typer.confirm(f"discard {count} events for good?", err=True)


async def _first_of_keys(wanted: Wanted, config: str) -> Sequence[Row]:
    async with letters(config) as table:
        return await table.parked_keys(wanted)


async def _carried_out(rows: Sequence[Row], wish: Wish, wait_s: float, *, config: str) -> Sequence[Row]:
    """What became of each key, printed, too.  Raises `StillParked` if it takes longer."""
    async with letters(config) as table:
        began = await table.wish(rows, wish)
        until_s = time.monotonic() + wait_s
        while await table.is_open(rows):
            if time.monotonic() > until_s:
                raise StillParked(
                    f"not carried out within {wait_s:g} s; it will be once a QServer projects the partition: does one? "
                    "`bennu deadletters list` shows the wish while it is open"
                )
            await asyncio.sleep(POLL_S)
        became = await table.became(rows, began)
    for row in became:
        print_became(row)
    return became
