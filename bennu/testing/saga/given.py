"""given / when / then over a saga: what it is told, and which commands go out.

    def order(*history: Signal) -> ToldSaga:
        return given_saga(OrderSaga, *history, app=app)

    order(PLACED, accepted("reserve")).when(refused("charge", "card_declined")).then(RELEASE).then_is("compensating")

It is told of events, of answers to its commands, and of time that passes; participants do nothing by themselves.  What
runs is Saga's own code, so a saga does here what it does in production.  As with aggregates, its rules are checked to
be functions of what they are given: they read no clock, draw nothing, and say the same twice.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, Literal

from google.protobuf.message import Message

from bennu.domain.app import App
from bennu.domain.saga import Saga
from bennu.testing.saga.life import Life
from bennu.testing.saga.told import Signal
from bennu.testing.saga.words import in_words
from bennu.testing.shown import fields_of, plain, shown
from bennu_saga.definitions import Definitions

Status = Literal["running", "compensating", "completed", "compensated", "compensation_failed", "parked"]


def given_saga(rules: type[Saga[Any]], *history: Signal, app: App) -> "ToldSaga":
    """A saga that was told these things; `app` has the commands and events, its own or its participants'.

    Raises `BadSettings` for a declaration that can't work.
    """
    alone = copy(app)  # other sagas that the same events start do not matter here, nor other versions of this one
    alone.sagas, alone.apps = (rules(),), (alone, *app.apps[1:])
    return ToldSaga(Definitions(alone), history)


class ToldSaga:
    """A saga after what it was told; each `when` is another one, so that several may begin with the same."""

    def __init__(self, definitions: Definitions, signals: Sequence[Signal]) -> None:
        self._definitions, self._signals = definitions, signals
        self._life, again = _lived(definitions, signals), _lived(definitions, signals)
        assert plain(self._life.records) == plain(again.records), (
            f"{self._life.name} says two things about the same: a clock, chance, or memory of its own\n"
            f"  first:  {shown(self._life.sent)}\n  second: {shown(again.sent)}"
        )

    def when(self, signal: Signal) -> "ToldSaga":
        """It is told this."""
        return ToldSaga(self._definitions, (*self._signals, signal))

    def then(self, *commands: Message) -> "ToldSaga":
        """Exactly these commands went out at what it was told last, in this order; none: it waits."""
        found = self._life.sent
        assert plain(found) == plain(commands), self._differs(shown(commands), f"sent:     {shown(found)}")
        return self

    def then_is(self, status: Status, reason: str | None = None) -> "ToldSaga":
        """How it stands: parked whatever it was before that, and why it is compensated or parked."""
        found = self._life.status
        wanted = (status, found[1] if reason is None else reason)
        assert found == wanted, self._differs(in_words(*wanted))
        return self

    def then_data(self, **fields: object) -> "ToldSaga":
        """These fields of what it remembers."""
        data = self._life.definition.data(self._life.state.data)
        found = fields_of(data, fields)
        assert found == fields, self._differs(str(fields), f"data:     {found}")
        return self

    def _differs(self, expected: str, *found: str) -> str:
        last = self._signals[-1] if self._signals else "nothing was told"
        what = shown(last) if isinstance(last, Message) else str(last)
        return "\n  ".join((f"when {what}", f"expected: {expected}", *found, f"saga:     {self._life}"))


def _lived(definitions: Definitions, signals: Sequence[Signal]) -> Life:
    life = Life(definitions)
    for signal in signals:
        life.take(signal)
    return life
