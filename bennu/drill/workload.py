"""What a domain adds to a drill: what is asked of it, and what must add up in the end."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from google.protobuf.message import Message

from bennu.domain.app import App
from bennu.drill.calls import Call, Command
from bennu.drill.journals import Journal
from bennu.drill.saga_journals import Sagas


class Workload(Protocol):
    """Commands over all partitions, for ever, from a seed."""

    app: App
    partitions: int
    name: str
    """With which all its command ids begin."""

    def prepare(self) -> Iterator[Sequence[tuple[str, Message]]]:
        """(id, command) of each step before the load, one step after another."""

    def commands(self) -> Iterator[tuple[str, Message]]:
        """(id, command) of the load; never ends."""

    def queries(self) -> Sequence[Message]:
        """What each node is asked at the end; all must answer the same bytes as a replay."""

    def conserved(self, calls: Sequence[Call], journals: Sequence[Journal]) -> list[str]:
        """What does not add up, in words (I9)."""


class SagaWorkload(Workload, Protocol):
    """Commands that each start one saga."""

    def starts_saga(self, command: Command) -> bool:
        """Whether it is one of these, not one that prepares them."""

    def saga_of(self, command: Command) -> str:
        """Id of the saga that it starts."""

    def misjudged(self, sagas: Sagas, journals: Sequence[Journal]) -> list[str]:
        """Sagas whose effects in the domain are not what they ended as: in words (I8)."""
