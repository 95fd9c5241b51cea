"""Dead letters on a terminal, and for programs."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import typer

from bennu.cli.deadletters_table import Row, place_of
from bennu.cli.sagas_shown import plain, print_table

if TYPE_CHECKING:
    from bennu.domain.app import App

HEADINGS = ("letter", "key", "type", "parked (UTC)", "state", "wish", "problem")
BEHIND = "(waits for an earlier one of its key)"


def print_list(rows: Sequence[Row]) -> None:
    """One a line."""
    if not rows:
        typer.echo("no such letter is there", err=True)
        return
    print_table(
        HEADINGS,
        [
            (
                place_of(row),
                f"{row['aggregate']} {row['key']}",
                row["type"],
                _time(row["parked_at"]),
                row["state"],
                row["wish"] or "",
                row["problem"] or BEHIND,
            )
            for row in rows
        ],
    )


def as_plain(row: Row) -> dict[str, object]:
    """For JSON: bytes as hexadecimal digits, times in ISO 8601."""

    def value(of: object) -> object:
        if isinstance(of, bytes):
            return of.hex()
        return of.isoformat() if isinstance(of, datetime) else of

    return {name: value(of) for name, of in row.items()}


def event_of(row: Row, app: "App | None") -> object:
    """The event as JSON would have it; None if no app is given, or it can't read the event."""
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    kind = next(filter(None, (each.message(row["type"]) for each in app.apps)), None) if app else None
    if kind is None:
        return None
    try:
        return json_format.MessageToDict(kind.FromString(row["event"]), preserving_proto_field_name=True)
    except (DecodeError, json_format.Error, TypeError, ValueError):
        return None


def print_letter(row: Row, event: object, behind: Sequence[Row]) -> None:
    """All that is known of one."""
    facts = {
        "is about": f"{row['aggregate']} {row['key']}",
        "type": row["type"],
        "event": json.dumps(event)
        if event is not None
        else f"{row['event'].hex() or 'empty'} (--app shows what it says)",
        "by": f"{row['actor'] or 'nobody named'}, command {row['command_id']}",
        "journaled": f"{_time(row['recorded_at'])} UTC",
        "parked": f"{_time(row['parked_at'])} UTC",
        "problem": row["problem"] or BEHIND,
        "state": f"{row['state']} {_time(row['ended_at'])}".rstrip(),
        "wish": f"{row['wish'] or 'none open'}{_wisher(row)}",
    }
    typer.echo(place_of(row))
    for name, fact in facts.items():
        typer.echo(f"  {name}: {plain(fact)}")
    typer.echo(
        f"  behind it: {len(behind)} parked" + "".join(f"\n    {place_of(each)} {each['type']}" for each in behind)
    )


def print_became(row: Row) -> None:
    """What became of a key."""
    done = [f"{row[what]} {what}" for what in ("applied", "discarded") if row[what]]
    parked = (
        f"{row['parked']} still parked, from seq {row['first_seq']} on"
        if row["parked"]
        else "nothing is parked any more"
    )
    problem = f": {row['problem']}" if row["problem"] else ""
    where = place_of({name: of for name, of in row.items() if name != "seq"})
    typer.echo(
        f"{where} {plain(str(row['aggregate']))} {plain(str(row['key']))}: {', '.join([*done, parked])}{plain(problem)}"
    )


def _wisher(row: Row) -> str:
    return f"; the last one by {row['wished_by']}: {row['wished_reason']}" if row["wished_by"] else ""


def _time(of: datetime | None) -> str:
    return f"{of:%Y-%m-%d %H:%M:%S}" if of else ""
