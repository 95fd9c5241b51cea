"""The sagas of an app on the code that runs in production: told what was decided, and when their timers run out.

Nothing waits here and nothing is lost: what comes of faults is explored, see `bennu.explore`.
"""

from collections.abc import Sequence

from google.protobuf.message import Message

from bennu.domain.app import App
from bennu.testing.clock import START_US
from bennu.v1.command_pb2 import Rejection
from bennu.v1.journal_pb2 import EventBatch, Outcome
from bennu.v1.position_pb2 import StreamCursor
from bennu_saga.definitions import Definitions
from bennu_saga.fold import Record, SagaFold
from bennu_saga.reactor import Reactor
from bennu_saga.signals import Answer, Heard, Signal, Signals


class SagaRun:
    """One partition of sagas; each call gives what is recorded."""

    def __init__(self, definitions: Definitions, *, partitions: int = 1, now_us: int = START_US) -> None:
        """`partitions`: of each app."""
        self.definitions = definitions
        self.fold = SagaFold()
        self.now_us = now_us
        apps, stream = definitions.app.apps, f"{definitions.app.name}-saga-0"
        self.reactor = Reactor(definitions, self.fold, {app.name: partitions for app in apps})
        self._signals = {app.name: Signals(definitions, stream, (0, 1), app=app) for app in apps}
        self._stream = stream
        self._events = 0

    def decided(self, app: App, events: Sequence[Message], *, command_id: str, refused: str = "") -> list[Record]:
        """This command of the app led to these events, or was refused."""
        batch = self._batch(events, command_id, refused)
        signals = self._signals[app.name].of(batch, 0, where="told")
        return [record for signal in signals for record in self._react(signal)]

    def fires(self) -> list[Record]:
        """The next timer, at its time; there is one."""
        timer = self.fold.next_timer()
        assert timer is not None, "no timer runs"
        due_us, saga_id, step = timer
        self.now_us = max(self.now_us, due_us)
        return self.reactor.fire(saga_id, step, self.now_us)

    def _react(self, signal: Signal) -> list[Record]:
        if isinstance(signal, Answer):
            return self.reactor.answer(signal, self.now_us)
        if isinstance(signal, Heard):
            return self.reactor.hear(signal, self.now_us)
        return self.reactor.start(signal, self.now_us)

    def _batch(self, events: Sequence[Message], command_id: str, refused: str) -> EventBatch:
        """What CServer journals of it, as far as sagas read that."""
        names = [event.DESCRIPTOR.full_name for event in events]
        types = list(dict.fromkeys(names))
        self._events += len(events)
        return EventBatch(
            first_seq=self._events - len(events) + 1,
            sources=[StreamCursor(stream=self._stream)],
            event_types=types,
            event_type_indexes=[types.index(name) for name in names],
            events=[event.SerializeToString() for event in events],
            event_counts=[len(events)],
            command_ids=[command_id],
            outcomes=[Outcome.OUTCOME_REJECTED if refused else Outcome.OUTCOME_MESSAGE],
            replies=[Rejection(reason=refused).SerializeToString()],
        )
