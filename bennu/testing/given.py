"""given / when / then over an aggregate's rules.

    given(AccountRules, AccountOpened(account="a", currency="EUR")).when(
        Withdraw(account="a", amount_minor=1, currency="EUR")
    ).then_rejected("insufficient_funds")

Beside what is asserted, each rule is checked to be a function of what it is given (see `bennu.testing.purity`): it
runs twice and says, or makes, the same; it reads no clock and draws nothing; a rule that decides or answers changes
neither state nor command, and one that evolves changes its state alone.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from google.protobuf.message import Message

from bennu.domain.aggregate import Accepted, Aggregate, Context, Rejection, State, state_type
from bennu.domain.messages import input_type, key_of, name_of, rules_of
from bennu.replica.agreement import encode_state
from bennu.testing.purity import watched
from bennu.testing.shown import fields_of, plain, shown

Outcome = Message | Sequence[Message] | Accepted | Rejection
Rule = Callable[..., Any]
S = TypeVar("S", bound=State)

CONTEXT = Context("command-1", "tester", 1_800_000_000_000_000)


def given(rules: type[Aggregate[S]], *history: Message) -> "Given[S]":
    """An aggregate of which these events happened, and nothing else."""
    return Given(rules, history)


class Given(Generic[S]):
    """An aggregate's history; `state` is what its rules made of it."""

    def __init__(self, rules: type[Aggregate[S]], history: Sequence[Message]) -> None:
        self._rules = rules
        self._evolves = _by_input(rules, "evolves")
        self.state = state_type(rules)()
        self.history = tuple(history)
        self.state = self.evolved(history)

    def when(self, command: Message, context: Context = CONTEXT) -> "Decided[S]":
        """Decide this command."""
        rule = _rule_for(_by_input(self._rules, "decides"), command, self._rules)
        _check_keys((*self.history, command))
        arguments = (command, context) if len(inspect.signature(rule).parameters) > 2 else (command,)
        outcome: Outcome = self._twice(rule, arguments)
        if not isinstance(outcome, Rejection):
            _check_keys((command, *_events_of(outcome)))
        return Decided(self, command, outcome)

    def when_asked(self, query: Message) -> "Answered":
        """Answer this query."""
        rule = _rule_for(_by_input(self._rules, "answers"), query, self._rules)
        answer: Message | Rejection = self._twice(rule, (query,))
        return Answered(query, answer)

    def _twice(self, rule: Rule, arguments: Sequence[object]) -> Any:  # noqa: ANN401 - what a domain's rule returns
        name, before = _name(rule), (encode_state(self.state), plain(arguments))
        first = self._watched(rule, self.state, arguments)
        after = encode_state(self.state)
        assert before[0] == after, (
            f"{name} changed the state; only `evolves` rules may\n  before: {msgspec.msgpack.decode(before[0])}\n"
            f"  after:  {msgspec.msgpack.decode(after)}"
        )
        second = rule(self.state, *arguments)
        assert before[1] == plain(arguments), f"{name} changed what it was asked: {shown(arguments)}"
        assert plain(first) == plain(second), (
            f"{name} says two things about the same: a clock, chance, or memory of its own\n"
            f"  first:  {shown(first)}\n  second: {shown(second)}"
        )
        return first

    def evolved(self, events: Sequence[Message]) -> S:
        """The state after these further events; ours stays as it is."""
        state = _copy(self.state)
        for event in events:
            state = self._evolved(state, event)
        return state

    def _evolved(self, state: S, event: Message) -> S:
        rule, before = _rule_for(self._evolves, event, self._rules), plain(event)
        first, second = _copy(state), _copy(state)
        self._watched(rule, first, (event,))
        rule(second, event)
        ours, theirs = msgspec.structs.asdict(first), msgspec.structs.asdict(second)
        differ = [field for field in ours if encode_state(ours[field]) != encode_state(theirs[field])]
        assert not differ, (
            f"{_name(rule)} makes two states of the same: a clock, chance, or memory of its own\n"
            f"  first:  { ({field: ours[field] for field in differ}) }\n"
            f"  second: { ({field: theirs[field] for field in differ}) }"
        )
        assert before == plain(event), f"{_name(rule)} changed the event: {shown(event)}"
        return first

    def _watched(self, rule: Rule, state: S, arguments: Sequence[object]) -> Any:  # noqa: ANN401 - as above
        with watched(self._rules) as read:
            outcome = rule(state, *arguments)
        assert not read, (
            f"{_name(rule)} reads {read[0]}; time, identity and chance are given to a rule, in `Context` or the event, "
            "or a replica would make something else of the same journal"
        )
        return outcome


class Decided(Generic[S]):
    """What was decided.  Each `then` may be followed by another."""

    def __init__(self, before: Given[S], command: Message, outcome: Outcome) -> None:
        self._before = before
        self._what = f"when {shown(command)}"
        self.outcome = outcome
        self.state = before.state if isinstance(outcome, Rejection) else before.evolved(_events_of(outcome))

    def then(self, *events: Message) -> "Decided[S]":
        """Exactly these events, in this order."""
        assert not isinstance(self.outcome, Rejection), (
            f"{self._what}\n  expected: {shown(events)}\n  rejected: {self.outcome.reason} ({self.outcome.message})"
        )
        decided = _events_of(self.outcome)
        assert plain(decided) == plain(events), (
            f"{self._what}\n  expected: {shown(events)}\n  decided:  {shown(decided)}"
        )
        return self

    def then_rejected(self, reason: str) -> "Decided[S]":
        """A rejection by this rule."""
        assert isinstance(self.outcome, Rejection), (
            f"{self._what}\n  expected: rejected as {reason}\n  decided:  {shown(_events_of(self.outcome))}"
        )
        assert self.outcome.reason == reason, (
            f"{self._what}\n  expected: rejected as {reason}\n"
            f"  rejected: {self.outcome.reason} ({self.outcome.message})"
        )
        return self

    def then_replied(self, reply: Message) -> "Decided[S]":
        """This reply: the one of `Accepted`, or the first event."""
        assert not isinstance(self.outcome, Rejection), f"{self._what}\n  rejected: {self.outcome.reason}"
        given_reply = self.outcome.reply if isinstance(self.outcome, Accepted) else _events_of(self.outcome)[0]
        assert plain(given_reply) == plain(reply), (
            f"{self._what}\n  expected reply: {shown(reply)}\n  reply:          {shown(given_reply)}"
        )
        return self

    def then_state(self, **fields: object) -> "Decided[S]":
        """These fields of the state afterwards."""
        found = fields_of(self.state, fields)
        assert found == fields, f"{self._what}\n  expected state: {fields}\n  state:          {found}"
        return self


class Answered:
    """What a query was answered."""

    def __init__(self, query: Message, answer: Message | Rejection) -> None:
        self._what = f"when asked {shown(query)}"
        self.answer = answer

    def then_answers(self, view: Message) -> None:
        """Exactly this view."""
        assert plain(self.answer) == plain(view), (
            f"{self._what}\n  expected: {shown(view)}\n  answered: {shown(self.answer)}"
        )

    def then_rejected(self, reason: str) -> None:
        """A rejection by this rule."""
        assert isinstance(self.answer, Rejection), (
            f"{self._what}\n  expected: rejected as {reason}\n  answered: {shown(self.answer)}"
        )
        assert self.answer.reason == reason, (
            f"{self._what}\n  expected: rejected as {reason}\n  rejected: {self.answer.reason}"
        )


def _by_input(rules: type[Aggregate[Any]], role: str) -> dict[type[Message], Rule]:
    instance = rules()
    return {input_type(rules, name, rule): partial(rule, instance) for name, rule in rules_of(rules, role)}


def _rule_for(table: dict[type[Message], Rule], message: Message, rules: type[Aggregate[Any]]) -> Rule:
    rule = table.get(type(message))
    known = ", ".join(sorted(name_of(kind) for kind in table)) or "none"
    assert rule is not None, f"{rules.__qualname__} has no rule for {message.DESCRIPTOR.full_name}; it takes {known}"
    return rule


def _check_keys(messages: Sequence[Message]) -> None:
    """All are about one aggregate, or CServer would not have these rules see, or make, them together."""
    keys = {key_of(type(message))(message): message for message in reversed(messages)}
    assert len(keys) <= 1, f"these are about different aggregates, {' and '.join(map(repr, keys))}: {shown(messages)}"


def _copy(state: S) -> S:
    return msgspec.msgpack.decode(encode_state(state), type=type(state))


def _events_of(outcome: Outcome) -> Sequence[Message]:
    if isinstance(outcome, Message):
        return (outcome,)
    assert not isinstance(outcome, Rejection)
    return outcome.events if isinstance(outcome, Accepted) else outcome


def _name(rule: Rule) -> str:
    return str(rule.func.__qualname__) if isinstance(rule, partial) else str(rule)
