"""`bennu members`: who is there and who leads what; `bennu handover`: have another one lead."""

import asyncio
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bennu.cli.options import AppName, AsJson, Config, LogUrl, load, open_log
from bennu.ops import topics

if TYPE_CHECKING:
    from bennu.members.outside import Seen
    from bennu.v1.members_pb2 import Seat


class Service(StrEnum):
    """Those whose processes lead partitions."""

    CSERVER = "cserver"
    SAGA = "saga"


def register(app: typer.Typer) -> None:
    """Add the commands."""

    @app.command()
    def members(app_name: AppName, *, log: LogUrl = "sqlite", config: Config = "", as_json: AsJson = False) -> None:
        """Listen to the members log for a moment, and print the processes of the app and what they do."""
        from bennu.members.outside import everybody

        async def work() -> "list[Seen]":
            async with open_log(log, config) as opened:
                return await everybody(opened, topics.members(load(app_name).name))

        show(asyncio.run(work()), as_json=as_json)

    @app.command()
    def handover(  # noqa: PLR0913  each is a flag
        app_name: AppName,
        *,
        partition: Annotated[int, typer.Option("--partition", min=0, help="Which one.")],
        node: Annotated[str, typer.Option("--to", help="Name of the process that is to lead it.")],
        service: Annotated[Service, typer.Option("--service", help="Whose partitions.")] = Service.CSERVER,
        log: LogUrl = "sqlite",
        config: Config = "",
    ) -> None:
        """Have a node lead a partition.  It does for as long as it can: preferences do not move it meanwhile."""
        from bennu.members.outside import hand_over
        from bennu.v1.members_pb2 import HandoverAsked

        async def work() -> None:
            async with open_log(log, config) as opened:
                asked = HandoverAsked(service=service.value, partition=partition, node=node)
                await hand_over(opened, topics.members(load(app_name).name), asked)

        asyncio.run(work())
        typer.echo(f"{node} leads partition {partition} of {service}")


def show(found: "list[Seen]", *, as_json: bool) -> None:
    """Print them, for a person or for a program."""
    from google.protobuf.json_format import MessageToDict

    if as_json:
        plain = [{"live": live, **MessageToDict(beat, preserving_proto_field_name=True)} for beat, live in found]
        typer.echo(json.dumps(plain))
        return
    for beat, live in found:
        state = "lives" if live else "has left" if beat.leaving else "is silent"
        where = f" at {beat.address}" if beat.address else ""
        typer.echo(f"{beat.service} {beat.node}{where} {state} (Bennu {beat.build})")
        for seat in beat.seats:
            typer.echo(f"    partition {seat.partition}: {in_words(seat)}")
    if not found:
        typer.echo("nobody has said anything lately: does a service of this app run on this log?")


def in_words(seat: "Seat") -> str:
    """What a process does in one partition."""
    from bennu.v1 import members_pb2 as pb

    words = {
        pb.SEAT_PART_STARTING: "reads the journal",
        pb.SEAT_PART_FOLLOWS: "follows",
        pb.SEAT_PART_LEADS: "leads",
        pb.SEAT_PART_STOPPED: "can't follow",
    }
    place = f"epoch {seat.epoch}, batch {seat.batch_no}"
    pinned = ", by an operator's choice" if seat.pinned and not seat.released else ""
    return f"{words.get(seat.part, 'does what this version does not know')}{pinned}, {place}" + (
        f": {seat.reason}" if seat.reason else ""
    )
