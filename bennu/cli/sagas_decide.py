"""`bennu sagas retry | skip | compensate | resolve`: one saga, or as many as filters let through.

What is done is what was tried: a decision names the state that it was made on, so a saga that has gone on meanwhile is
left alone, and one whose answer got lost can be repeated and has one effect.
"""

import getpass
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import typer

from bennu.cli.options import AsJson
from bennu.cli.sagas_calls import Leaders, leaders_at
from bennu.cli.sagas_options import (
    HERE,
    Actor,
    Admin,
    BulkLimit,
    DryRun,
    FailingStep,
    Filters,
    MaybeOne,
    OfDefinition,
    OfVersion,
    OlderThan,
    Prefix,
    Reason,
    Standings,
    Step,
    Stuck,
    Yes,
)
from bennu.cli.sagas_shown import print_json, print_result
from bennu.errors import BennuError

if TYPE_CHECKING:
    from bennu.v1 import saga_admin_pb2 as pb

OPERATIONS = {
    "retry": "Ask again for what failed, of a saga that is parked or half undone.",
    "compensate": "Give up what is under way, and undo all.",
    "resolve": "End a saga as it stands: you have mended it by hand.",
}
SKIP_HELP = "Take a step, or its compensation, as carried out by hand."


class NotAllDone(BennuError):
    """Of many decisions, some are refused, or not known."""


class Decided(NamedTuple):
    """An operator's decision, and how it is to be carried out."""

    operation: str
    step: str
    actor: str
    reason: str
    dry_run: bool
    yes: bool
    as_json: bool

    def message(self, *, dry_run: bool) -> "pb.SagaDecision":
        """As it is sent."""
        from bennu.v1.saga_admin_pb2 import SagaDecision
        from bennu.v1.saga_pb2 import SagaOperation

        operation = SagaOperation.Value(f"SAGA_OPERATION_{self.operation.upper()}")
        actor = self.actor or getpass.getuser()
        return SagaDecision(operation=operation, step=self.step, actor=actor, reason=self.reason, dry_run=dry_run)

    def show(self, result: "pb.SagaResult") -> None:
        """For a person or a program."""
        if self.as_json:
            print_json(result)
        else:
            print_result(result)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for operation, text in OPERATIONS.items():
        _register(app, operation, text)

    @app.command(help=f"{SKIP_HELP}  Without SAGA: of the sagas that the filters let through.")
    def skip(  # noqa: PLR0913  each is a flag
        saga: MaybeOne = "",
        *,
        step: Step,
        reason: Reason,
        actor: Actor = "",
        dry_run: DryRun = False,
        yes: Yes = False,
        definition: OfDefinition = "",
        version: OfVersion = 0,
        standing: Standings = None,
        stuck: Stuck = False,
        prefix: Prefix = "",
        older_than: OlderThan = "",
        failing_step: FailingStep = "",
        limit: BulkLimit = 0,
        admin: Admin = HERE,
        as_json: AsJson = False,
    ) -> None:
        decided = Decided("skip", step, actor, reason, dry_run, yes, as_json)
        wanted = Filters(definition, version, standing, stuck, prefix, older_than, failing_step)
        decide(decided, saga, wanted, limit=limit, admin=admin)


def _register(app: typer.Typer, operation: str, text: str) -> None:
    @app.command(operation, help=f"{text}  Without SAGA: of the sagas that the filters let through.")
    def command(  # noqa: PLR0913  each is a flag
        saga: MaybeOne = "",
        *,
        reason: Reason,
        actor: Actor = "",
        dry_run: DryRun = False,
        yes: Yes = False,
        definition: OfDefinition = "",
        version: OfVersion = 0,
        standing: Standings = None,
        stuck: Stuck = False,
        prefix: Prefix = "",
        older_than: OlderThan = "",
        failing_step: FailingStep = "",
        limit: BulkLimit = 0,
        admin: Admin = HERE,
        as_json: AsJson = False,
    ) -> None:
        decided = Decided(operation, "", actor, reason, dry_run, yes, as_json)
        wanted = Filters(definition, version, standing, stuck, prefix, older_than, failing_step)
        decide(decided, saga, wanted, limit=limit, admin=admin)


def decide(decided: Decided, saga: str, wanted: Filters, *, limit: int, admin: str) -> None:
    """About one, or about many.  Raises `typer.BadParameter` for what names both, or neither."""
    if not decided.reason.strip():
        raise typer.BadParameter("a decision has a reason; this one is empty", param_hint="--reason")
    if saga and (limit or any(wanted)):
        raise typer.BadParameter("name one saga, or give filters: not both")
    if not (saga or limit):
        raise typer.BadParameter(
            "name a saga; or say by --limit, and filters, how many are meant", param_hint="--limit"
        )
    with leaders_at(admin) as leaders:
        if saga:
            _decide_one(leaders, decided, saga)
        else:
            _decide_many(leaders, decided, wanted.message(), limit=limit)


def _decide_one(leaders: Leaders, decided: Decided, saga: str) -> None:
    from bennu.v1.saga_admin_pb2 import OperateSaga, SagaTarget

    target = SagaTarget(saga_id=saga)
    trial = OperateSaga(decision=decided.message(dry_run=True), target=target)
    would = leaders.ask(saga, lambda stub: stub.OperateSaga, trial)
    if decided.dry_run:
        decided.show(would)
        typer.echo("nothing was done", err=True)
        return
    target.seen = would.seen
    asked = OperateSaga(decision=decided.message(dry_run=False), target=target)
    decided.show(leaders.ask(saga, lambda stub: stub.OperateSaga, asked))


def _decide_many(leaders: Leaders, decided: Decided, wanted: "pb.SagaFilter", *, limit: int) -> None:
    from bennu.v1 import saga_admin_pb2 as pb

    trial = pb.OperateSagas(decision=decided.message(dry_run=True), filter=wanted, limit=limit)
    answers = leaders.ask_each(lambda stub: stub.OperateSagas, trial)
    would = [result for answer in answers for result in answer.results][:limit]
    possible = [each for each in would if each.outcome == pb.SAGA_OUTCOME_WOULD_BE_DONE]
    if decided.dry_run or not decided.as_json:
        for result in would:
            decided.show(result)
    if decided.dry_run or not possible or not _agreed(decided, len(possible)):
        typer.echo("nothing was done", err=True)
        return
    targets = [pb.SagaTarget(saga_id=each.saga_id, seen=each.seen) for each in possible]
    done = list(_done(leaders, decided, targets))
    if missed := sum(each.outcome != pb.SAGA_OUTCOME_DONE for each in done):
        raise NotAllDone(f"{missed} of {len(done)} are not done, or not known to be: see above, and look at them")


def _agreed(decided: Decided, count: int) -> bool:
    """Whether a person says so, where one is there."""
    if decided.yes:
        return True
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody is there to be asked: say --yes, or --dry-run", param_hint="--yes")
    return typer.confirm(f"{decided.operation} {count} sagas?", err=True)


def _done(leaders: Leaders, decided: Decided, targets: "list[pb.SagaTarget]") -> "Iterator[pb.SagaResult]":
    from bennu.v1.saga_admin_pb2 import OperateSagas

    for group in leaders.by_leader(targets):
        asked = OperateSagas(decision=decided.message(dry_run=False), targets=group)
        for result in leaders.ask(group[0].saga_id, lambda stub: stub.OperateSagas, asked).results:
            decided.show(result)
            yield result
