"""An operator among sagas that really are under way: asks, and decides."""

from bennu.v1 import saga_admin_pb2 as pb
from bennu.v1.saga_pb2 import SagaOperation
from tests.saga.world import World

T = "TransferSaga:t"


def decision(operation: SagaOperation.ValueType, *, step: str = "", dry_run: bool = False) -> pb.SagaDecision:
    """Ann's."""
    return pb.SagaDecision(operation=operation, step=step, actor="ann", reason="ticket 17", dry_run=dry_run)


async def operate(
    world: World, operation: SagaOperation.ValueType, *, seen: str = "", dry_run: bool = False, saga_id: str = T
) -> pb.SagaResult:
    """One decision about one saga."""
    target = pb.SagaTarget(saga_id=saga_id, seen=seen)
    return await world.saga.admin.operate(pb.OperateSaga(decision=decision(operation, dry_run=dry_run), target=target))


async def listed(world: World, **wanted: object) -> list[str]:
    """Ids of the sagas that a filter lets through."""
    page = await world.saga.admin.page(pb.ListSagas(filter=pb.SagaFilter(**wanted)))  # type: ignore[arg-type]  # fields of it
    return [saga.saga_id for saga in page.sagas]


async def unanswered(world: World, *names: str) -> None:
    """Transfers, begun one after another, whose withdrawals reach nobody."""
    world.saga.log.mute = True
    await world.until(lambda: world.saga.leads)
    await world.accounts("a", "b")
    for count, name in enumerate(names, 1):
        await world.transfer(name, "a", "b")
        await world.until(lambda count=count: world.saga_records()["SagaStarted"].total() == count)  # type: ignore[misc]


def operated(world: World) -> int:
    """Decisions that are in the journals."""
    return sum(world.saga_records()["SagaOperated"].values())
