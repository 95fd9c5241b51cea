"""`bennu.v1.SagaAdmin`: many operators at a time, and one who waits for long."""

import asyncio
from types import SimpleNamespace
from unittest import mock

import grpc
import pytest

from bennu.log.memory import NO_FAULTS, Faults
from bennu.v1 import saga_admin_pb2 as pb
from bennu_saga import admin
from bennu_saga.admin import SERVICE, Admin
from bennu_saga.admin_trial import try_out
from bennu_saga.limits import OPERATORS
from bennu_saga.requests import NotBegun
from bennu_saga.state import COMPENSATE, RESOLVE
from tests.saga.operating import T, listed, operate, unanswered
from tests.saga.world import World, simulated

SEED = 20261125
SILENCE = Faults(drop=1.0)


async def held_up(world: World) -> "asyncio.Task[pb.SagaResult]":
    """A decision is made, and the log takes nothing from now on: whoever is to be told of it waits."""
    await unanswered(world, "t")
    world.broker.faults = SILENCE
    deciding = asyncio.create_task(operate(world, COMPENSATE))
    await asyncio.sleep(1)
    return deciding


async def beside_a_list(world: World) -> None:
    """A list waits to be told; a decision is tried meanwhile."""
    deciding = await held_up(world)
    listing = asyncio.create_task(listed(world))
    with mock.patch.object(admin, "try_out", wraps=try_out) as tried:
        trying = asyncio.create_task(operate(world, RESOLVE, dry_run=True))
        await asyncio.sleep(1)
        assert (tried.call_count, listing.done()) == (1, False)
    world.broker.faults = NO_FAULTS
    await asyncio.gather(deciding, listing, trying)


def test_who_waits_to_be_told_holds_up_nobody() -> None:
    """Operators are looked after one by one, and wait for the log side by side."""
    simulated(SEED, beside_a_list)


async def no_end(*_anything: object, **_more: object) -> None:
    """A search that takes for ever."""
    await asyncio.Event().wait()


async def in_line(world: World) -> None:
    """A list that takes for ever, and another one behind it."""
    await unanswered(world, "t")
    with mock.patch.object(Admin, "_first", no_end):
        endless = asyncio.create_task(listed(world))
        await asyncio.sleep(0)
        with pytest.raises(NotBegun, match="came first, and took too long"):
            await listed(world)
        endless.cancel()
    assert await listed(world) == [T]


def test_nobody_waits_for_ever_for_a_turn() -> None:
    """Whoever asked too much before them: they are told so in time."""
    simulated(SEED, in_line)


async def by_wire(world: World) -> grpc.StatusCode:
    """A call as the transport makes it; OK, or with which code it ends."""
    service = world.saga.admin.handlers()
    handler = service.service(SimpleNamespace(method=f"/{SERVICE}/ExplainSaga", invocation_metadata=()))
    assert handler is not None
    assert handler.unary_unary is not None
    context = mock.Mock()
    await handler.unary_unary(pb.ExplainSaga(saga_id=T).SerializeToString(), context)
    return context.set_code.call_args.args[0] if context.set_code.called else grpc.StatusCode.OK


async def crowded(world: World) -> None:
    """As many as may ask at a time wait; one more comes."""
    deciding = await held_up(world)
    asking = [asyncio.create_task(by_wire(world)) for _ in range(OPERATORS)]
    await asyncio.sleep(1)
    assert await by_wire(world) == grpc.StatusCode.RESOURCE_EXHAUSTED
    world.broker.faults = NO_FAULTS
    assert set(await asyncio.gather(*asking)) == {grpc.StatusCode.OK}
    assert await by_wire(world) == grpc.StatusCode.OK
    await deciding


def test_one_call_too_many_is_refused_at_once() -> None:
    """By the service of operators itself, so that whoever asks if the process is well is answered all the same."""
    simulated(SEED, crowded)
