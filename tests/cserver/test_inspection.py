"""What an operator sees of the states in memory: one, a page of them, those that fit a search."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import grpc
import pytest
from google.protobuf.message import Message

from bank.app import app
from bank.v1.commands_pb2 import Deposit, OpenAccount
from bennu.limits import INSPECT_PAGE_BYTES, INSPECT_SCAN
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.replica.fold import AggregateFold
from bennu.testing.loop import run
from bennu.v1 import inspection_pb2 as pb
from bennu.v1 import inspection_pb2_grpc
from bennu_cserver.inspection import Inspection, first_keys
from bennu_cserver.intake import Refused
from bennu_cserver.local import Unsettled
from bennu_cserver.member import Member
from bennu_cserver.submission import ANYBODY
from tests.cserver.served import TIMEOUT_S, Answer, Server, answered, failed
from tests.cserver.test_intake import INTAKE, prepared, routes_of_a_stalled_partition
from tests.lone import lone, routes_of

MOST = 10**15
"""The largest deposit; ten of them are more than a double counts exactly."""
NAMES = [f"acc-{number:03}" for number in range(250)]


def opened(fold: AggregateFold, *, currency: str = "EUR", owner: str = "") -> None:
    """Accounts, each with its number as limit."""
    states, kind = fold.states[0], app.kinds[0].state
    for number, name in enumerate(reversed(NAMES)):
        limit = len(NAMES) - 1 - number
        states[name] = kind(status=1, currency=currency, owner=owner, limit_minor=limit)


async def led() -> Inspection:
    """Of a partition that leads and has nothing in flight, with accounts."""
    routes, partition = routes_of_a_stalled_partition()
    opened(partition.fold)
    partition.replica.leading = True
    leading = asyncio.create_task(partition.lead())
    leading.add_done_callback(lambda _: None)
    return Inspection(routes)


async def pages(inspection: Inspection, asked: pb.ListAggregates | pb.SearchAggregates) -> list[pb.AggregatePage]:
    """All of them, each asked for with the token of the one before."""
    found = [await inspection.page(asked, ANYBODY)]
    while found[-1].next_page_token:
        asked.page_token = found[-1].next_page_token
        found.append(await inspection.page(asked, ANYBODY))
    return found


def keys(found: list[pb.AggregatePage]) -> list[str]:
    """Of all pages, in order."""
    return [each.key for page in found for each in page.aggregates]


def looking(scenario: Callable[[Inspection], Awaitable[None]]) -> None:
    """The scenario with that partition, in virtual time."""

    async def work() -> None:
        await scenario(await led())

    run(work())


@pytest.mark.parametrize(("limit", "count"), [(0, 3), (100, 3), (7, 36), (1_000, 1), (100_000, 1), (250, 2)])
def test_pages_hold_every_key_once_in_order(limit: int, count: int) -> None:
    """However long a page is, all pages together are the sorted keys."""

    async def scenario(inspection: Inspection) -> None:
        found = await pages(inspection, pb.ListAggregates(kind="Account", limit=limit))
        assert keys(found) == NAMES
        assert len(found) == count
        assert all(page.position == "bank-events-0:0" for page in found)

    looking(scenario)


def test_a_prefix_narrows_a_list() -> None:
    """Only keys that begin so are on it."""

    async def scenario(inspection: Inspection) -> None:
        assert (
            keys(await pages(inspection, pb.ListAggregates(kind="Account", prefix="acc-01", limit=3))) == NAMES[10:20]
        )
        assert keys(await pages(inspection, pb.ListAggregates(kind="Account", prefix="zzz"))) == []
        assert keys(await pages(inspection, pb.ListAggregates(kind="Transfer"))) == []

    looking(scenario)


def condition(field: str, comparison: pb.Comparison.ValueType, value: object) -> pb.Condition:
    """One, of a search."""
    return pb.Condition(field=field, comparison=comparison, value_json=json.dumps(value))


LIMIT = "limit_minor"
SEARCHES = {
    "equal": ([condition(LIMIT, pb.COMPARISON_EQUAL, 7)], NAMES[7:8]),
    "not equal": ([condition("currency", pb.COMPARISON_NOT_EQUAL, "EUR")], []),
    "between": (
        [condition(LIMIT, pb.COMPARISON_GREATER, 10), condition(LIMIT, pb.COMPARISON_LESS_OR_EQUAL, 12)],
        NAMES[11:13],
    ),
    "at least": ([condition(LIMIT, pb.COMPARISON_GREATER_OR_EQUAL, 248)], NAMES[248:]),
    "less": ([condition(LIMIT, pb.COMPARISON_LESS, 1)], NAMES[:1]),
    "contains": ([condition("currency", pb.COMPARISON_CONTAINS, "U")], NAMES),
    "nothing asked": ([], NAMES),
}


@pytest.mark.parametrize(("conditions", "found"), SEARCHES.values(), ids=SEARCHES)
def test_a_search_finds_what_fits_all_conditions(conditions: list[pb.Condition], found: list[str]) -> None:
    """Each comparison as it is named; several are and-ed."""

    async def scenario(inspection: Inspection) -> None:
        asked = pb.SearchAggregates(kind="AccountRules", conditions=conditions)
        assert keys(await pages(inspection, asked)) == found

    looking(scenario)


BAD = {
    "kind": pb.ListAggregates(kind="Order"),
    "partition": pb.ListAggregates(kind="Account", partition=1),
    "conditions[0].field": pb.SearchAggregates(kind="Account", conditions=[condition("x", pb.COMPARISON_EQUAL, 1)]),
    "conditions[0].comparison": pb.SearchAggregates(
        kind="Account", conditions=[condition(LIMIT, pb.COMPARISON_UNSPECIFIED, 1)]
    ),
    "conditions[1].value_json": pb.SearchAggregates(
        kind="Account",
        conditions=[condition(LIMIT, pb.COMPARISON_EQUAL, 1), condition(LIMIT, pb.COMPARISON_EQUAL, "one")],
    ),
}


@pytest.mark.parametrize(("field", "asked"), BAD.items(), ids=BAD)
def test_a_search_that_makes_no_sense_names_the_field(
    field: str, asked: pb.ListAggregates | pb.SearchAggregates
) -> None:
    """INVALID_ARGUMENT with the path of the field at fault."""

    async def scenario(inspection: Inspection) -> None:
        with pytest.raises(Refused) as caught:
            await inspection.page(asked, ANYBODY)
        assert field.encode() in caught.value.reply[1]

    looking(scenario)


def test_a_text_is_not_contained_in_a_number() -> None:
    """CONTAINS is for texts, and says so."""

    async def scenario(inspection: Inspection) -> None:
        asked = pb.SearchAggregates(kind="Account", conditions=[condition(LIMIT, pb.COMPARISON_CONTAINS, 1)])
        with pytest.raises(Refused, match="only a text"):
            await inspection.page(asked, ANYBODY)

    looking(scenario)


def test_a_search_looks_at_a_bounded_number_a_call() -> None:
    """A page may be empty and not the last one; going on from its token finds what comes later."""

    async def scenario() -> None:
        inspection = await led()
        states, kind = inspection._routes.members[0].partition.fold.states[0], app.kinds[0].state  # type: ignore[union-attr]  # it leads
        for number in range(INSPECT_SCAN):
            states[f"b{number:06}"] = kind()
        asked = pb.SearchAggregates(
            kind="Account", prefix="b", conditions=[condition("status", pb.COMPARISON_EQUAL, 1)]
        )
        states["bz"] = kind(status=1)
        found = await pages(inspection, asked)
        assert [(page.scanned, len(page.aggregates)) for page in found] == [(INSPECT_SCAN, 0), (1, 1)]

    run(scenario())


def test_a_page_is_bounded_in_bytes() -> None:
    """Large states make short pages; one beyond the bound stands there without its state."""

    async def scenario() -> None:
        inspection = await led()
        fold = inspection._routes.members[0].partition.fold  # type: ignore[union-attr]  # it leads
        opened(fold, owner="x" * (INSPECT_PAGE_BYTES // 10))
        fold.states[0]["huge"] = app.kinds[0].state(owner="x" * INSPECT_PAGE_BYTES)
        found = await pages(inspection, pb.ListAggregates(kind="Account"))
        assert keys(found) == [*NAMES, "huge"]
        assert max(page.ByteSize() for page in found) < 1.2 * INSPECT_PAGE_BYTES
        assert [each.key for page in found for each in page.aggregates if not each.state_json] == ["huge"]

    run(scenario())


def test_first_keys_are_the_sorted_ones() -> None:
    """However many there are and wherever a page begins."""

    async def scenario() -> None:
        many = [f"{(number * 7919) % 10_007:05}" for number in range(10_007)]
        for after, most in (("", 10), ("05000", 3_000), ("99999", 5), ("", 20_000)):
            assert await first_keys(many, after, "", most=most) == [k for k in sorted(many) if k > after][:most]

    run(scenario())


def test_a_leader_shows_what_is_effective() -> None:
    """A state that a batch under way has changed is not shown before that batch is effective."""

    async def scenario() -> None:
        routes, partition = routes_of_a_stalled_partition()
        partition.replica.lead()
        await partition.replica.log.create("bank-events-0")
        opening = prepared(OpenAccount(account="a", currency="EUR"), "open")
        answer = asyncio.create_task(routes.submit(0, [opening], 10))
        await asyncio.sleep(0)
        partition.decide_some()
        asked = asyncio.create_task(Inspection(routes).get(pb.GetAggregate(kind="Account", key="a"), ANYBODY))
        await asyncio.sleep(1)
        assert not asked.done()
        leading = asyncio.create_task(partition.lead())
        assert (await asked).position == (await answer)[1] == "bank-events-0:1"
        leading.cancel()
        await asyncio.wait((leading,))

    run(scenario())


def test_who_neither_leads_nor_follows_says_so() -> None:
    """UNAVAILABLE, to be asked again."""

    async def scenario() -> None:
        node = lone(MemoryLog(MemoryBroker()))
        routes = routes_of(node, [Member(app, (0, 1), node=node, intake=INTAKE)])
        with pytest.raises(Unsettled):
            await Inspection(routes).page(pb.ListAggregates(kind="Account"), ANYBODY)

    run(scenario())


def asked(server: Server, method: str, request: Message) -> Answer:
    """Call it by the generated stub."""
    stub = inspection_pb2_grpc.InspectionStub(server.channel)
    try:
        reply, call = getattr(stub, method).with_call(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return failed(error)
    return answered(reply.SerializeToString(), call)


@pytest.fixture(scope="module")
def bank(server: Server) -> Server:
    """A server with an account."""
    server.ask(OpenAccount(account="seen", currency="EUR", owner="Ann"))
    for part in range(10):
        server.ask(Deposit(account="seen", amount_minor=MOST - (part == 0), currency="EUR"))
    return server


def test_a_process_shows_a_state_as_it_is(bank: Server) -> None:
    """By key, whichever partition it is in, with 64-bit integers whole and the position."""
    found = pb.AggregateView.FromString(asked(bank, "GetAggregate", pb.GetAggregate(kind="Account", key="seen")).body)
    state = json.loads(found.aggregate.state_json)
    assert (state["balance_minor"], state["owner"]) == (10 * MOST - 1, "Ann")
    assert found.position.startswith("bank-events-")


def test_a_process_says_what_is_not_there(bank: Server) -> None:
    """NOT_FOUND for a key that no event names, INVALID_ARGUMENT for a kind that is none, or for noise."""
    missing = asked(bank, "GetAggregate", pb.GetAggregate(kind="Account", key="nobody"))
    assert (missing.code, missing.reason) == ("NOT_FOUND", "AGGREGATE_UNKNOWN")
    wrong = asked(bank, "ListAggregates", pb.ListAggregates(kind="Order"))
    assert (wrong.code, wrong.fields) == ("INVALID_ARGUMENT", ["kind"])
    call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = bank.channel.unary_unary("/bennu.v1.Inspection/GetAggregate")
    with pytest.raises(grpc.RpcError) as caught:
        call(b"\xff", timeout=TIMEOUT_S)
    assert failed(caught.value).code == "INVALID_ARGUMENT"


def test_a_process_lists_and_searches(bank: Server) -> None:
    """Both, on the partition that is named."""
    found = [
        pb.AggregatePage.FromString(asked(bank, method, request(kind="Account", partition=partition)).body)
        for partition in range(2)
        for method, request in (("ListAggregates", pb.ListAggregates), ("SearchAggregates", pb.SearchAggregates))
    ]
    assert [each.key for page in found for each in page.aggregates] == ["seen", "seen"]
