"""`bennu sagas`: see the sagas that are under way, or wait for an operator, and decide about them."""

import typer

from bennu.cli import sagas_decide, sagas_plan
from bennu.cli.options import AsJson
from bennu.cli.sagas_calls import leaders_at
from bennu.cli.sagas_options import (
    HERE,
    Admin,
    FailingStep,
    Filters,
    Limit,
    OfDefinition,
    OfVersion,
    OlderThan,
    One,
    Prefix,
    Standings,
    Stuck,
)
from bennu.cli.sagas_shown import print_json, print_list, print_view

app = typer.Typer(help="See sagas, and mend those that can't go on by themselves.", no_args_is_help=True)


@app.command("list")
def list_sagas(  # noqa: PLR0913  each is a flag
    *,
    definition: OfDefinition = "",
    version: OfVersion = 0,
    standing: Standings = None,
    stuck: Stuck = False,
    prefix: Prefix = "",
    older_than: OlderThan = "",
    failing_step: FailingStep = "",
    limit: Limit = 100,
    admin: Admin = HERE,
    as_json: AsJson = False,
) -> None:
    """Print the sagas that have not ended, the oldest first; with --json one object a line."""
    wanted = Filters(definition, version, standing, stuck, prefix, older_than, failing_step).message()
    with leaders_at(admin) as leaders:
        found = leaders.sagas(wanted, limit)
        if as_json:
            for saga in found:
                print_json(saga)
        else:
            print_list(found)
        if not leaders.look():
            typer.echo("a partition went to another process meanwhile, so some may be missing: ask again", err=True)


@app.command()
def show(saga: One, *, admin: Admin = HERE, as_json: AsJson = False) -> None:
    """Print all that is known of a saga, step by step."""
    from bennu.v1.saga_admin_pb2 import ShowSaga

    with leaders_at(admin) as leaders:
        view = leaders.ask(saga, lambda stub: stub.ShowSaga, ShowSaga(saga_id=saga))
    (print_json if as_json else print_view)(view)


@app.command()
def explain(saga: One, *, admin: Admin = HERE, as_json: AsJson = False) -> None:
    """Say in a sentence what a saga waits for, since when, and what happens next."""
    from bennu.v1.saga_admin_pb2 import ExplainSaga

    with leaders_at(admin) as leaders:
        said = leaders.ask(saga, lambda stub: stub.ExplainSaga, ExplainSaga(saga_id=saga))
    if as_json:
        print_json(said)
    else:
        typer.echo(said.sentence)


sagas_decide.register(app)
sagas_plan.register(app)
