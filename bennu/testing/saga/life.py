"""One saga and what became of it, signal by signal."""

from google.protobuf.message import Message

from bennu.domain.app import App
from bennu.domain.messages import name_of
from bennu.testing.purity import watched
from bennu.testing.saga.run import SagaRun
from bennu.testing.saga.told import Answered, Signal, Unanswered
from bennu.testing.saga.words import in_words, listed, steps_of
from bennu.v1.saga_pb2 import SagaCommandIssued, SagaEnded, SagaStarted, SagaStatus
from bennu_saga.definitions import Definitions
from bennu_saga.fold import Record
from bennu_saga.state import RESTING, SagaState, started


class Life:
    """What became of the one saga."""

    def __init__(self, definitions: Definitions) -> None:
        self._run = SagaRun(definitions)
        self._apps = definitions.app.apps
        ((self.definition,),) = definitions.by_trigger.values()
        self.name = self.definition.name
        self.records: list[Record] = []
        self.sent: list[Message] = []
        """At the last signal."""
        self._id = ""
        self._state: SagaState | None = None
        self._ended: SagaEnded | None = None

    def __str__(self) -> str:
        if self._state is None:
            return f"{self.name} was not started"
        return f"{self._id} is {in_words(*self.status)}: {steps_of(self._state, self.definition)}"

    @property
    def state(self) -> SagaState:
        """As it is, or was when it ended."""
        assert self._state is not None, f"{self.name} was not started: {self.definition.trigger_type} starts it"
        return self._state

    @property
    def status(self) -> tuple[str, str]:
        """In a word, and why."""
        state = self.state
        if state.parked:
            return "parked", state.parked
        word = SagaStatus.Name(SagaStatus.ValueType(self._ended.status if self._ended else state.status))
        return word.removeprefix("SAGA_STATUS_").lower(), state.reason

    def take(self, signal: Signal) -> None:
        """React to it."""
        with watched(type(self.definition.saga)) as read:
            records = self._react(signal)
        assert not read, (
            f"a rule of {self.name} reads {read[0]}; time, identity and chance are given to it, in the event"
        )
        self.records += records
        self.sent = [self._command(record) for record in records if isinstance(record, SagaCommandIssued)]
        for record in records:
            if isinstance(record, SagaStarted):
                assert self._id in ("", record.saga_id), f"{self._id} was told of, and {record.saga_id} is another saga"
                self._id, self._ended = record.saga_id, None
                self._state = self._run.fold.sagas.get(self._id) or started(record)
            if isinstance(record, SagaEnded):
                self._ended = record

    def _react(self, signal: Signal) -> list[Record]:
        if isinstance(signal, Message):
            return self._run.decided(self._app_of(signal), [signal], command_id="somebody's")
        if isinstance(signal, Answered):
            return self._answer(signal)
        if isinstance(signal, Unanswered):
            return self._fire(signal.step)
        until_us, records = self._run.now_us + signal.ms * 1_000, list[Record]()
        while (timer := self._run.fold.next_timer()) and timer[0] <= until_us:
            records += self._run.fires()
        self._run.now_us = until_us
        return records

    # --- what it is told must be able to happen

    def _app_of(self, event: Message) -> App:
        name = event.DESCRIPTOR.full_name
        definitions = self._run.definitions
        means = (self.definition.trigger_type, *definitions.listening)
        for app in self._apps:
            assert name not in app.commands, f"{name} is a command; a saga is told of events, and its own are answered"
            if name in app.known_events:
                known = name in means or app.newest(name) in means
                assert known, f"{name} means nothing to {self.name}, but as part of an answer; it hears {listed(means)}"
                return app
        raise AssertionError(f"{name} is no event of {listed(app.name for app in self._apps)}")

    def _answer(self, answer: Answered) -> list[Record]:
        index = self._awaited(answer.step)
        step = self.state.steps[index]
        (app,) = (app for app in self._apps if step.destination.startswith(f"{app.name}-commands-"))
        for event in answer.events:
            name = name_of(type(event))
            assert name in app.known_events, f"{name} is no event of `{app.name}`, whose command this answers"
        return self._run.decided(app, answer.events, command_id=step.awaited, refused=answer.refused)

    def _awaited(self, name: str) -> int:
        """The step that waits for an answer."""
        awaited = {self._name(index): index for index, step in enumerate(self.state.steps) if step.awaited}
        self._check_name(name)
        told = listed(awaited) if self._id in self._run.fold.sagas else "nothing: it has ended"
        if not name:
            assert len(awaited) == 1, f"which answer is meant?  {self.name} waits for {told}"
            return next(iter(awaited.values()))
        assert name in awaited, f"nothing is asked of step `{name}` now, but of {told}; {self}"
        return awaited[name]

    def _fire(self, name: str) -> list[Record]:
        timer = self._run.fold.next_timer()
        self._check_name(name)
        assert timer is not None, f"no timer runs: {self}"
        _, _, index = timer
        assert name in ("", self._name(index)), f"the next timer is that of step `{self._name(index)}`: {self}"
        records = self._run.fires()
        while self.state.steps[index].phase == RESTING and not self.state.parked:
            records += self._run.fires()
        return records

    def _check_name(self, name: str) -> None:
        names = [step.name for step in self.definition.plan]
        assert name in ("", *names), f"{self.name} has no step `{name}`; its steps are {listed(names)}"

    def _name(self, index: int) -> str:
        return self.definition.plan[index].name if index < len(self.definition.plan) else "the closing command"

    def _command(self, issued: SagaCommandIssued) -> Message:
        (rule,) = (app.commands[issued.type] for app in self._apps if issued.type in app.commands)
        return rule.message.FromString(issued.payload)
