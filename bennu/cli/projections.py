"""`bennu projections`: see projections and their generations; pause, rebuild and switch them.

A command writes down what is wished, in the Postgres that BENNU_POSTGRES names; QServer carries it out, and the answer
says what it did, or what it waits for.
"""

import asyncio
import getpass
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, NoReturn, TypeVar

import typer

from bennu.cli.options import AsJson, Config, load, setting
from bennu.cli.projections_desk import Asked, Desk, NotPossible, Row, at_desk
from bennu.cli.projections_shown import print_json, print_rows, progress, waits
from bennu.errors import BadSettings
from bennu.ops.generations import (
    BUILDING,
    CANCEL,
    CANCELLED,
    DROP,
    DROPPED,
    KEPT,
    LIVE,
    PREVIOUS,
    REPLACE,
    SWITCH,
)

T = TypeVar("T")

LOOK_S = 0.2
SAY_S = 2.0
ANSWER_S = 15.0
"""How long a command waits for what it asked for, where --wait does not say that it waits for ever."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the projection, as `bennu projections list` shows it.")]
App = Annotated[
    str, typer.Option("--app", envvar="BENNU_APP", help="The app, or its name; needed where a database holds several.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept beside what is done.")]
Actor = Annotated[str, typer.Option("--actor", help="Who wants it; otherwise your login name.", show_default=False)]
Number = Annotated[int, typer.Option("--generation", min=1, help="Its number, as `bennu projections list` shows it.")]
To = Annotated[int, typer.Option("--to", min=1, help="The generation that views shall show.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow it until it is switched to.")]
NoSwitch = Annotated[
    bool, typer.Option("--no-switch", help="Fill it and keep it level; `bennu projections switch` shows it.")
]
Like = Annotated[
    str, typer.Option("--like", metavar="NODE", help="Declared as this QServer does, where several builds live.")
]
Anew = Annotated[
    bool, typer.Option("--replace-views", help="Make views anew whose columns change other than by more at the end.")
]

app = typer.Typer(help="See projections; pause, rebuild and switch them.", no_args_is_help=True)


def _ask(app_name: str, config: str, work: Callable[[Desk], Awaitable[T]]) -> T:
    dsn = setting("postgres", config)
    if not dsn:
        raise BadSettings("postgres is missing: set BENNU_POSTGRES or BENNU_POSTGRES_FILE")
    return at_desk(dsn, load(app_name).name if ":" in app_name else app_name, work)


def _asked(actor: str, reason: str) -> Asked:
    if not reason.strip():
        raise typer.BadParameter("what is asked for has a reason; this one is empty", param_hint="--reason")
    return Asked(actor or getpass.getuser(), reason)


@app.command("list")
def list_projections(*, app_name: App = "", config: Config = "", as_json: AsJson = False) -> None:
    """Print each projection's generations: their states, how far they are, who projects them, what is wrong."""

    async def work(desk: Desk) -> None:
        (print_json if as_json else print_rows)(await desk.rows(), await desk.workers())

    _ask(app_name, config, work)


@app.command()
def pause(name: Name, *, reason: Reason, actor: Actor = "", app_name: App = "", config: Config = "") -> None:
    """Project no more, until `resume`: tables stay as they are, and can be read."""
    asked = _asked(actor, reason)

    async def work(desk: Desk) -> None:
        await desk.live(name)
        await desk.pause(name, asked)

    _ask(app_name, config, work)
    typer.echo(f"{name}: paused; every QServer stops projecting it within two seconds")


@app.command()
def resume(name: Name, *, app_name: App = "", config: Config = "") -> None:
    """Go on where `pause` stopped."""

    async def work(desk: Desk) -> bool:
        await desk.live(name)
        return await desk.resume(name)

    was = _ask(app_name, config, work)
    typer.echo(f"{name}: it goes on within two seconds" if was else f"{name}: it was not paused")


@app.command()
def rebuild(  # noqa: PLR0913  each is a flag
    name: Name,
    *,
    reason: Reason,
    actor: Actor = "",
    wait: Wait = False,
    no_switch: NoSwitch = False,
    replace_views: Anew = False,
    like: Like = "",
    app_name: App = "",
    config: Config = "",
) -> None:
    """Fill a new generation from the journal, beside the live one, and switch to it once it is level.

    It goes on whether or not this command does.
    """
    if no_switch and (wait or replace_views):
        raise typer.BadParameter(
            "nothing is switched, so there is nothing to wait for or replace", param_hint="--no-switch"
        )
    asked, wish = _asked(actor, reason), None if no_switch else _showing(replace_views)

    async def work(desk: Desk) -> None:
        number = await desk.begin(name, asked, wish=wish, like=like)
        typer.echo(f"{name}: generation {number} is begun; QServer builds it" + (" and switches to it" if wish else ""))
        if wait:
            await _follow(desk, await desk.row(name, number), LIVE, for_s=float("inf"))

    _ask(app_name, config, work)


def _showing(replace_views: bool) -> str:
    return REPLACE if replace_views else SWITCH


@app.command()
def switch(  # noqa: PLR0913  each is a flag
    name: Name,
    *,
    to: To,
    reason: Reason,
    actor: Actor = "",
    replace_views: Anew = False,
    app_name: App = "",
    config: Config = "",
) -> None:
    """Let the views show another generation: one that is built, or the previous one."""
    asked = _asked(actor, reason)

    async def work(desk: Desk) -> None:
        row = await desk.row(name, to)
        if row.state == LIVE:
            raise NotPossible(f"{name}: generation {to} is live already")
        if not row.able(await desk.workers()):
            raise NotPossible(f"{name}: no QServer that lives declares it as generation {to} was made: start its build")
        await desk.wish(row, _showing(replace_views), asked)
        await _follow(desk, row, LIVE, for_s=ANSWER_S)

    _ask(app_name, config, work)


@app.command()
def cancel(name: Name, *, reason: Reason, actor: Actor = "", app_name: App = "", config: Config = "") -> None:
    """Give up the generation that is built, and drop its tables; the live one is not touched."""
    asked = _asked(actor, reason)

    async def work(desk: Desk) -> None:
        await desk.live(name)
        for row in await desk.rows(name, (BUILDING,)):
            await desk.wish(row, CANCEL, asked)
            await _follow(desk, row, CANCELLED, for_s=ANSWER_S)
            return
        raise NotPossible(f"{name}: no generation is built")

    _ask(app_name, config, work)


@app.command()
def drop(  # noqa: PLR0913  each is a flag
    name: Name, *, generation: Number, reason: Reason, actor: Actor = "", app_name: App = "", config: Config = ""
) -> None:
    """Drop the tables of a previous generation: there is no way back to it then."""
    asked = _asked(actor, reason)

    async def work(desk: Desk) -> None:
        row = await desk.row(name, generation)
        if row.state != PREVIOUS:
            other = "; `bennu projections cancel` gives it up" if row.state == BUILDING else ""
            raise NotPossible(f"{name}: generation {generation} is {row.state}{other}")
        await desk.wish(row, DROP, asked)
        await _follow(desk, row, DROPPED, for_s=ANSWER_S)

    _ask(app_name, config, work)


async def _follow(desk: Desk, row: Row, wanted: str, *, for_s: float) -> None:
    """Say what becomes of it.  Raises `NotPossible` when it does not come to what was wanted."""
    name, until_s, said_s = f"{row.projection}, generation {row.generation}", time.monotonic() + for_s, 0.0
    while (state := await desk.state(row.projection, row.generation)) != wanted:
        if state not in KEPT:
            raise NotPossible(f"{name}: it is {state}")
        rows = await desk.rows(row.projection)
        now = next((each for each in rows if each.generation == row.generation), row)
        ending = wanted in (CANCELLED, DROPPED)  # for which no problem that was there is a reason
        if now.problem and not waits(now) and not (ending and now.problem == row.problem):
            raise NotPossible(f"{name}: {now.problem}")
        if time.monotonic() > until_s:
            _give_up(name, now, workers=list(await desk.workers()))
        if time.monotonic() - said_s > SAY_S:
            facts = (progress(now, rows), now.problem, f"paused by {now.paused_by}" if now.paused_by else "")
            typer.echo(f"{name}: {'; '.join(filter(None, facts))}", err=True)
            said_s = time.monotonic()
        await asyncio.sleep(LOOK_S)
    typer.echo(f"{name}: {wanted}")


def _give_up(name: str, row: Row, *, workers: list[str]) -> NoReturn:
    waits = row.problem or ("QServer has not come to it yet" if workers else "no QServer lives: it is done by the next")
    raise NotPossible(f"{name}: asked for, and not done within {ANSWER_S:g} s: {waits}")
