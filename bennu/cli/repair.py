"""`bennu repair`: a command of the domain, by a person who says who and why; tried first, and then perhaps done."""

import json
import uuid
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bennu.cli.calls import HERE, TIMEOUT_S, Address, Refused, channel_to, said
from bennu.cli.options import AppName, load

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from bennu.domain.app import App
    from bennu.v1.stream_pb2 import ReplyFrame


class Repair(NamedTuple):
    """What is to be done."""

    app: "App"
    command: "Message"
    command_id: str
    actor: str
    reason: str

    def send(self, channel: "grpc.Channel", *, dry_run: bool) -> dict[str, object]:
        """Have it tried, or done; the answer as plain data.  Raises `Refused`."""
        from bennu.v1.command_pb2 import Origin
        from bennu.v1.stream_pb2 import CommandFrame
        from bennu.v1.stream_pb2_grpc import CommandStreamStub
        from bennu.wire.commands import command_batch

        message = self.command
        commands = command_batch([(self.command_id, message.DESCRIPTOR.full_name, message.SerializeToString())])
        commands.origins.append(Origin(actor=self.actor, reason=self.reason))
        frame = CommandFrame(commands=commands, dry_run=dry_run, timeout_ms=int(TIMEOUT_S * 1000))
        return self._plain(next(CommandStreamStub(channel).Execute(iter([frame]), timeout=TIMEOUT_S)))

    def _plain(self, answer: "ReplyFrame") -> dict[str, object]:
        from google.rpc.status_pb2 import Status

        if answer.codes[0]:
            raise Refused(said(Status.FromString(answer.replies[0])))
        reply = self.app.reply_message(self.command.DESCRIPTOR.full_name)
        found: dict[str, object] = {
            "reply": {"type": reply.DESCRIPTOR.full_name, "data": _json(reply.FromString(answer.replies[0]))},
            "position": answer.positions[0] if answer.positions else "",
        }
        for tried in answer.dry_runs:
            found["events"] = [
                {"type": name, "data": self._event(name, raw)}
                for name, raw in zip(tried.types, tried.events, strict=True)
            ]
        return found

    def _event(self, type_name: str, raw: bytes) -> object:
        message = self.app.message(type_name)
        return None if message is None else _json(message.FromString(raw))


def register(to: typer.Typer) -> None:
    """Add the command."""

    @to.command()
    def repair(  # noqa: PLR0913  each is a flag
        app_name: AppName,
        *,
        command: Annotated[str, typer.Option("--command", help="Full name of its message, such as bank.v1.Reverse.")],
        content: Annotated[str, typer.Option("--json", metavar="OBJECT", help="Its fields.")],
        actor: Annotated[str, typer.Option("--actor", help="Who does this.")],
        reason: Annotated[str, typer.Option("--reason", help="Why; it stays in the journal.")],
        grpc: Address = HERE,
        command_id: Annotated[
            str, typer.Option("--id", help="Command id, to repeat one whose outcome is not known.")
        ] = "",
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only try it.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do it, after it was tried and would be carried out.")] = False,
        as_json: Annotated[bool, typer.Option("--as-json", help="Print one JSON object a line.")] = False,
    ) -> None:
        """Try a command and print what it would do; with --yes then do it.  Actor and reason are journaled."""
        for name, value in (("--actor", actor), ("--reason", reason)):
            if not value.strip():
                raise typer.BadParameter("a repair has an actor and a reason; this one is empty", param_hint=name)
        app = load(app_name)
        wanted = Repair(app, _command(app, command, content), command_id or f"repair-{uuid.uuid4()}", actor, reason)
        with channel_to(grpc) as channel:
            _show("would be", wanted, wanted.send(channel, dry_run=True), as_json=as_json)
            if dry_run or not yes:
                typer.echo("nothing was done" + ("" if dry_run else "; with --yes it is"), err=True)
                return
            typer.echo(f"doing it as {wanted.command_id}; should no answer come, repeat it with that --id", err=True)
            _show("done", wanted, wanted.send(channel, dry_run=False), as_json=as_json)


def _command(app: "App", name: str, content: str) -> "Message":
    """Raises `typer.BadParameter`, which names the command or the field."""
    from google.protobuf import json_format

    rule = app.commands.get(name)
    if rule is None or not rule.reply_type:
        known = ", ".join(sorted(each for each, found in app.commands.items() if found.reply_type))
        raise typer.BadParameter(f"{name} is not a command of {app.name}; there are {known}", param_hint="--command")
    try:
        return json_format.Parse(content, rule.message())
    except json_format.ParseError as problem:
        raise typer.BadParameter(f"not a {name}: {problem}", param_hint="--json") from problem


def _json(message: "Message") -> object:
    from google.protobuf import json_format

    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _show(what: str, repair: Repair, answer: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"command_id": repair.command_id, "what": what, **answer}))
        return
    typer.echo(f"{what}: {json.dumps(answer['reply'])} at {answer['position']}")
    events = answer.get("events")
    for event in events if isinstance(events, list) else ():
        typer.echo(f"    event {json.dumps(event)}")
