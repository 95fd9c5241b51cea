"""The topics that a service needs: made where the log is our own, asked for where an operator makes them."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import NamedTuple

from bennu.errors import TopicMissing, Unavailable
from bennu.log.port import Log
from bennu.ops import partition_count
from bennu.ops.patience import Patience
from bennu.ops.readiness import Readiness

NOT_BEGUN = "start its CServer, or have a running one begin a new epoch by `bennu handover`"


class Told(NamedTuple):
    """How many partitions a process was told that an app has."""

    app_name: str
    partitions: int


async def prepare(log: Log, topics: Iterable[str], told: Told, *, embedded: bool) -> None:
    """Return once all are there; one that is away is waited for.

    Raises `TopicMissing` where an operator must act, and `BadSettings`, before anything is made, where the journals
    that are there say another number of partitions.
    """
    ask = log.create if embedded else log.bounds
    try:
        await _each([partial(partition_count.check, log, *told), *(partial(ask, topic) for topic in topics)])
    except TopicMissing as error:
        raise TopicMissing(f"{error}; make it with `bennu topics create`") from error


async def count(log: Log, app_names: Iterable[str], counts: dict[str, int], *, readiness: Readiness) -> None:
    """Put in how many partitions each app has, as its first journal says; one that has not begun is waited for.

    Raises `RecordBroken` for a journal that can't be understood.
    """
    for name in app_names:
        topic, patience, condition = f"{name}-events-0", Patience(f"app {name}"), f"app-{name}"
        while True:
            problem = f"{topic} does not say how many partitions the app has: {NOT_BEGUN}"
            try:
                if said := await partition_count.still_said_by(log, topic):
                    counts[name] = said
                    readiness.met(condition)
                    break
            except Unavailable as error:
                problem = f"the log is away: {error}"
            readiness.unmet(condition, problem)
            await patience.wait(problem)


async def _each(questions: Iterable[Callable[[], Awaitable[object]]]) -> None:
    patience = Patience("log")
    for ask in questions:
        while not await _answered(ask, patience=patience):
            pass  # it has waited


async def _answered(ask: Callable[[], Awaitable[object]], *, patience: Patience) -> bool:
    try:
        await ask()
    except Unavailable as error:
        await patience.wait(error)
        return False
    patience.reset()
    return True
