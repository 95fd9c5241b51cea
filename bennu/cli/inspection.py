"""`bennu inspect get | list | search | at`: states as they are in memory, or were at a past moment."""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from bennu.cli.calls import HERE, TIMEOUT_S, Address, channel_to
from bennu.cli.options import AppName, AsJson, Config, LogUrl, load, open_log, setting
from bennu.errors import BennuError
from bennu.wire.partitioning import partition_of

if TYPE_CHECKING:
    from bennu.domain.app import App
    from bennu.replica.past import Moment
    from bennu.replica.state import ReplicaState
    from bennu.v1 import inspection_pb2 as pb

app = typer.Typer(help="Look at aggregates: in a running CServer, or in the past.", no_args_is_help=True)

Kind = Annotated[str, typer.Option("--kind", help="Name of the state's class, such as Account.")]
Partition = Annotated[int, typer.Option("--partition", min=0, help="Which one.")]
Prefix = Annotated[str, typer.Option("--prefix", help="Only keys that begin so.")]
Limit = Annotated[int, typer.Option("--limit", min=0, help="Print at most so many; 0 prints all.")]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="A condition, such as `balance_minor >= 100`; = != < <= > >= and ~ (contains)."),
]

CONDITION = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>|~)\s*(.*?)\s*")
COMPARISONS = {"=": 1, "!=": 2, "<": 3, "<=": 4, ">": 5, ">=": 6, "~": 7}
"""Values of bennu.v1.Comparison."""


class NothingThere(BennuError):
    """No aggregate had this key at that moment."""


@app.command()
def get(
    *,
    kind: Kind,
    key: Annotated[str, typer.Option("--key", help="Of the aggregate.")],
    grpc: Address = HERE,
    as_json: AsJson = False,
) -> None:
    """Print the state of one aggregate, once all it shows is durable."""
    from bennu.v1.inspection_pb2 import GetAggregate
    from bennu.v1.inspection_pb2_grpc import InspectionStub

    with channel_to(grpc) as channel:
        found = InspectionStub(channel).GetAggregate(GetAggregate(kind=kind, key=key), timeout=TIMEOUT_S)
    show([found.aggregate], as_json=as_json)


@app.command("list")
def list_aggregates(  # noqa: PLR0913  each is a flag
    *,
    kind: Kind,
    partition: Partition,
    prefix: Prefix = "",
    limit: Limit = 100,
    grpc: Address = HERE,
    as_json: AsJson = False,
) -> None:
    """Print the aggregates of a partition, in the order of their keys; with --json one object a line."""
    from bennu.v1.inspection_pb2 import ListAggregates
    from bennu.v1.inspection_pb2_grpc import InspectionStub

    asked = ListAggregates(kind=kind, partition=partition, prefix=prefix)
    with channel_to(grpc) as channel:
        stub = InspectionStub(channel)
        show(_first(_pages(stub.ListAggregates, asked), limit), as_json=as_json)


@app.command()
def search(  # noqa: PLR0913  each is a flag
    *,
    kind: Kind,
    partition: Partition,
    where: Where = None,
    prefix: Prefix = "",
    limit: Limit = 100,
    grpc: Address = HERE,
    as_json: AsJson = False,
) -> None:
    """Print the aggregates of a partition for which all conditions hold; with --json one object a line."""
    from bennu.v1.inspection_pb2 import SearchAggregates
    from bennu.v1.inspection_pb2_grpc import InspectionStub

    asked = SearchAggregates(kind=kind, partition=partition, prefix=prefix, conditions=conditions(where or ()))
    with channel_to(grpc) as channel:
        stub = InspectionStub(channel)
        show(_first(_pages(stub.SearchAggregates, asked), limit), as_json=as_json)


def conditions(texts: Sequence[str]) -> "list[pb.Condition]":
    """What `--where` says.  A value that is no JSON is a text."""
    from bennu.v1.inspection_pb2 import Condition

    found = []
    for text in texts:
        parts = CONDITION.fullmatch(text)
        if parts is None:
            raise typer.BadParameter(f"{text!r} is no condition; one is `balance_minor >= 100`", param_hint="--where")
        field, sign, value = parts.groups()
        found.append(Condition(field=field, comparison=COMPARISONS[sign], value_json=_as_json(value)))  # type: ignore[arg-type]  # the values are the enum's
    return found


def _as_json(value: str) -> str:
    try:
        json.loads(value)
    except ValueError:
        return json.dumps(value)
    return value


def _pages(
    method: "Callable[..., pb.AggregatePage]", asked: "pb.ListAggregates | pb.SearchAggregates"
) -> "Iterator[pb.AggregatePage]":
    while True:
        page = method(asked, timeout=TIMEOUT_S)
        yield page
        asked.page_token = page.next_page_token
        if not page.next_page_token:
            return


def _first(pages: "Iterable[pb.AggregatePage]", limit: int) -> "Iterator[pb.Aggregate]":
    printed = 0
    for page in pages:
        for aggregate in page.aggregates:
            yield aggregate
            printed += 1
            if printed == limit:
                return


def show(found: "Iterable[pb.Aggregate]", *, as_json: bool) -> None:
    """One a line; what is beyond a page's bound is named without its state."""
    for each in found:
        state = json.loads(each.state_json) if each.state_json else None
        _print(each.kind, each.key, state, as_json=as_json)


def _print(kind: str, key: str, state: object, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"kind": kind, "key": key, "state": state}))
    else:
        shown = "very large: ask for it with `bennu inspect get`" if state is None else json.dumps(state)
        typer.echo(f"{kind} {key.encode('unicode_escape').decode()}  {shown}")


@app.command()
def at(  # noqa: PLR0913  each is a flag
    app_name: AppName,
    *,
    topic: Annotated[str, typer.Option("--topic", help="The journal, such as bank-events-0.")],
    seq: Annotated[int, typer.Option("--seq", min=0, help="Number of the last event to be in the state.")],
    kind: Annotated[str, typer.Option("--kind", help="Only of this kind.")] = "",
    key: Annotated[str, typer.Option("--key", help="Only this aggregate.")] = "",
    log: LogUrl = "sqlite",
    config: Config = "",
    as_json: AsJson = False,
) -> None:
    """Print the states as they were after one event of a journal, and before the next.  The first event is number 1.

    By replay: from the newest snapshot that is old enough, where BENNU_POSTGRES names a store, else from the start.
    """
    domain = load(app_name)
    if not topic.startswith(f"{domain.name}-events-"):
        raise typer.BadParameter(f"a journal of {domain.name}'s aggregates is called {domain.name}-events-0, -1, …")
    kinds = [each.state.__name__ for each in domain.kinds]
    if kind and kind not in kinds:
        raise typer.BadParameter(f"no aggregate is a {kind!r}; there are {', '.join(kinds)}", param_hint="--kind")

    state, moment = asyncio.run(_past(domain, (topic, seq), log, config=config))
    found = list(_states(domain, state, kind=kind, key=key))
    if key and not found:
        raise NothingThere(_nothing(topic, state, moment, wanted=(kind, key)))
    typer.echo(_when(moment), err=True)
    if not found:
        typer.echo(f"no {kind or 'aggregate'} was there yet", err=True)
    for name, own, one in found:
        _print(name, own, json.loads(msgspec.json.encode(one)), as_json=as_json)


def _states(domain: "App", state: "ReplicaState", *, kind: str, key: str) -> Iterator[tuple[str, str, object]]:
    """Kind, key and state of those that are asked for, in the order of keys."""
    from bennu.replica.fold import AggregateFold

    assert isinstance(state.fold, AggregateFold)
    for each, states in zip(domain.kinds, state.fold.states, strict=True):
        name = each.state.__name__
        if kind in ("", name):
            yield from ((name, own, states[own]) for own in ((key,) if key else sorted(states)) if own in states)


def _when(moment: "Moment") -> str:
    if moment.seq == 0:
        return "before event 1, the first one"
    if not moment.command:
        return f"after event {moment.seq}, where a snapshot ends; its record is not kept, or further back"
    return f"after event {moment.seq}, {moment.event}, by {moment.command} {moment.command_id}"


def _nothing(topic: str, state: "ReplicaState", moment: "Moment", *, wanted: tuple[str, str]) -> str:
    kind, key = wanted
    number = partition_of(key, state.partitions)
    elsewhere = f"; its place is {topic.rpartition('-')[0]}-{number}" if number != state.partition else ""
    return f"{topic}: no {kind or 'aggregate'} with key {key!r} was there {_when(moment)}{elsewhere}"


async def _past(domain: "App", place: tuple[str, int], log: str, *, config: str) -> "tuple[ReplicaState, Moment]":
    from bennu.ops.logs import joined
    from bennu.replica.fold import AggregateFold
    from bennu.replica.journal import Position
    from bennu.replica.past import numbers_of, replay_to
    from bennu.replica.state import ReplicaState
    from bennu.snapshots.restore import restore
    from bennu.snapshots.until import Until

    (topic, seq), dsn = place, setting("postgres", config)
    async with joined(open_log(log, config), setting("archive", config)) as opened:
        partition, partitions = await numbers_of(opened, topic)

        def new_state() -> ReplicaState:
            return ReplicaState(AggregateFold(domain), partition=partition, partitions=partitions)

        store = Until(dsn, name="by hand", seq=seq) if dsn else None
        begun = await restore(store, opened, topic, new_state=new_state) if store else None
        state, position = begun or (new_state(), Position(topic))
        return state, await replay_to(opened, state, position, seq=seq)
