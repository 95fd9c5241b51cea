"""Asking the processes of Saga: who leads what, one saga of its leader, lists of all leaders, merged."""

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from bennu.cli.calls import TIMEOUT_S, telling
from bennu.errors import Unavailable
from bennu.wire.partitioning import partition_of

if TYPE_CHECKING:
    from bennu.v1 import saga_admin_pb2 as pb
    from bennu.v1.saga_admin_pb2_grpc import SagaAdminStub

T = TypeVar("T")
Method = Callable[["SagaAdminStub"], Callable[..., T]]
"""Which one, of a stub."""

PAGE = 200
TOGETHER = 1_000
"""Sagas that are decided about by one call."""
LOOKS, LOOK_S = 10, 0.5
"""How often, and after which pause, it is looked who leads, while a partition has no leader or gets another one."""
NOT_LED = "NOT_LED"


class Leaders:
    """The processes that lead, found through any one of the service."""

    def __init__(self, address: str, opened: ExitStack) -> None:
        self._address = address
        self._opened = opened
        self._stubs: dict[str, SagaAdminStub] = {}
        self._leaders: list[str] = []
        """Addresses, by number of partition."""
        self.look()

    def look(self) -> bool:
        """Find them again; whether nothing changed.  Raises `Unavailable` when a partition stays without a leader."""
        from bennu.v1.saga_admin_pb2 import FindLeaders

        missing: list[int] = []
        for attempt in range(LOOKS):
            time.sleep(LOOK_S if attempt else 0)
            with telling(self._address):
                found = self._stub(self._address).FindLeaders(FindLeaders(), timeout=TIMEOUT_S).leaders
            missing = [number for number, leader in enumerate(found) if not leader.address]
            if found and not missing:
                before, self._leaders = self._leaders, [leader.address for leader in found]
                return before == self._leaders
        numbers = ", ".join(map(str, missing))
        raise Unavailable(f"nobody is known to lead partition {numbers} of the sagas")

    def _stub(self, address: str) -> "SagaAdminStub":
        import grpc

        from bennu.v1.saga_admin_pb2_grpc import SagaAdminStub

        if address not in self._stubs:
            channel = self._opened.enter_context(grpc.insecure_channel(address))
            self._stubs[address] = SagaAdminStub(channel)
        return self._stubs[address]

    def ask(self, saga_id: str, method: Method[T], message: object) -> T:
        """Ask whoever leads this saga's partition, and the next leader where it moves.  Raises as `telling` does."""
        for attempt in range(LOOKS):
            if attempt:
                time.sleep(LOOK_S)
                self.look()
            address = self._address_of(saga_id)
            with telling(address):
                answer = _unless_moved(method(self._stub(address)), message)
            if answer is not None:
                return answer
        raise Unavailable(f"{saga_id}: its partition went from one process to the next; look with `bennu members`")

    def _address_of(self, saga_id: str) -> str:
        return self._leaders[partition_of(saga_id, len(self._leaders))]

    def ask_each(self, method: Method[T], message: object) -> Iterator[T]:
        """Ask all of them.  Raises as `telling` does."""
        for address in dict.fromkeys(self._leaders):
            with telling(address):
                yield method(self._stub(address))(message, timeout=TIMEOUT_S)

    def by_leader(self, targets: "Iterable[pb.SagaTarget]") -> "Iterator[list[pb.SagaTarget]]":
        """As many as go together into one call."""
        groups: dict[str, list[pb.SagaTarget]] = {}
        for target in targets:
            groups.setdefault(self._address_of(target.saga_id), []).append(target)
        for group in groups.values():
            yield from (group[first : first + TOGETHER] for first in range(0, len(group), TOGETHER))

    def sagas(self, wanted: "pb.SagaFilter", limit: int) -> "Iterator[pb.SagaSummary]":
        """The first ones of all leaders that the filter lets through, in the order of their start; limit 0: all."""
        pages = [self._sagas_of(address, wanted, limit) for address in dict.fromkeys(self._leaders)]
        for count, saga in enumerate(heapq.merge(*pages, key=lambda saga: (saga.started_at_us, saga.saga_id)), 1):
            yield saga
            if count == limit:
                return

    def _sagas_of(self, address: str, wanted: "pb.SagaFilter", limit: int) -> "Iterator[pb.SagaSummary]":
        from bennu.v1.saga_admin_pb2 import ListSagas

        asked = ListSagas(filter=wanted, limit=min(limit or PAGE, PAGE))
        while True:
            with telling(address):
                page = self._stub(address).ListSagas(asked, timeout=TIMEOUT_S)
            yield from page.sagas
            asked.page_token = page.next_page_token
            if not page.next_page_token:
                return


def _unless_moved(call: Callable[..., T], message: object) -> T | None:
    """None: whoever was asked does not lead the partition, and has done nothing."""
    import grpc
    from google.rpc.error_details_pb2 import ErrorInfo
    from grpc_status import rpc_status

    try:
        return call(message, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        found, info = rpc_status.from_call(error), ErrorInfo()  # type: ignore[arg-type]  # what grpc raises is a call as well
        for detail in found.details if found else ():
            detail.Unpack(info)
        if info.reason != NOT_LED:
            raise
        return None


@contextmanager
def leaders_at(address: str) -> Iterator[Leaders]:
    """Through the process at this address.  Raises `Unavailable`, with what to do when nobody is there."""
    with ExitStack() as opened:
        try:
            leaders = Leaders(address, opened)
        except Unavailable as error:
            raise Unavailable(
                f"{error}; --admin names any Saga of the app: `bennu members` shows where they are"
            ) from error
        yield leaders
