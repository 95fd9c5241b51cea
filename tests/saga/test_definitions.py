"""What an app's sagas must be, checked when they are loaded: a mistake is named before anything runs."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from bank.transfer import TransferSaga, deposit, reverse, withdraw
from bank.v1.commands_pb2 import Deposit
from bank.v1.events_pb2 import TransferRequested
from bank.v1.queries_pb2 import GetTransfer
from bennu.domain import Saga, Step
from bennu.errors import BadSettings, RecordBroken
from bennu_saga.definitions import Definitions, RuleFailed, key_of
from bennu_saga.limits import MAX_KEY_BYTES
from tests.saga.story import ASKED, DEPOSIT, WITHDRAW, app_with, saga


def asks(asked: TransferRequested) -> GetTransfer:
    """No command."""
    return GetTransfer(transfer=asked.transfer)


class _OfCommand(Saga[Deposit]):
    """Started by what is no event."""

    steps = (DEPOSIT,)

    def key(self, trigger: Deposit) -> str:
        return trigger.account


class _OfNothing(Saga[Any]):
    """Started by nothing in particular."""

    steps = (DEPOSIT,)

    def key(self, trigger: object) -> str:
        return str(trigger)


class _Nameless(Saga[TransferRequested]):
    """Does not say what names it."""

    steps = (DEPOSIT,)


BAD: dict[str, tuple[list[type[Saga[Any]]], str]] = {
    "no sagas": ([], "declares no sagas"),
    "no steps": ([saga()], "at least one step"),
    "one name twice": ([saga(WITHDRAW, WITHDRAW)], "step names must differ"),
    "a step that can't be undone": ([saga(DEPOSIT, Step("two", withdraw))], "step `deposit` has no compensation"),
    "a pivot that may time out": ([saga(Step("one", deposit, timeout_ms=1))], "step `one`: it may time out"),
    "a query as a step": ([saga(Step("one", asks))], "asks makes bank.v1.GetTransfer, no command"),
    "a query as compensation": ([saga(Step("one", withdraw, compensation=asks))], "asks makes bank.v1.GetTransfer"),
    "started by a command": ([_OfCommand], "bank.v1.Deposit, which is no event"),
    "started by nothing": ([_OfNothing], "must derive from Saga"),
    "no key": ([_Nameless], "_Nameless has no `key`"),
    "two of one name": ([saga(DEPOSIT), saga(WITHDRAW)], "two sagas of app `bank` are called Told, version 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_declaration_that_can_not_work_is_refused(case: str) -> None:
    """The message names the saga, and the step or rule that is wrong."""
    sagas, message = BAD[case]
    with pytest.raises(BadSettings, match=message):
        Definitions(app_with(*sagas))


def test_the_banks_transfer_is_a_saga() -> None:
    """It is found by the event that starts it and by its name and version."""
    definitions = Definitions(app_with(TransferSaga))
    (definition,) = definitions.by_trigger["bank.v1.TransferRequested"]
    assert definitions.get("TransferSaga", 1) is definition
    assert definitions.get("TransferSaga", 2) is None


def test_an_unknown_event_is_no_event() -> None:
    """What the app's descriptors do not hold is named, never guessed."""
    with pytest.raises(RecordBroken, match=r"bank\.v9\.Gone"):
        Definitions(app_with(TransferSaga)).event("bank.v9.Gone", b"")


def newer(old: Timestamp) -> TransferRequested:
    """What a transfer was called once."""
    if not old.seconds:
        raise ValueError("no idea")
    return TransferRequested(transfer=f"t{old.seconds}")


def test_an_old_event_is_known_by_its_newest_type() -> None:
    """An upcast event starts what its newest type starts; one that can't be upcast is named."""
    definitions = Definitions(app_with(TransferSaga, upcasters=(newer,)))
    name = Timestamp.DESCRIPTOR.full_name
    assert definitions.event(name, Timestamp(seconds=7).SerializeToString()) == TransferRequested(transfer="t7")
    with pytest.raises(RecordBroken, match=f"{name} can't be upcast: ValueError: no idea"):
        definitions.event(name, b"")


@pytest.mark.parametrize("key", ["", None, 7, "x" * (MAX_KEY_BYTES + 1), "\ud800"])
def test_a_key_is_a_short_text(key: object) -> None:
    """A key that the journal could not hold fails its own saga, and no other."""
    wrong = saga(Step("one", withdraw, compensation=reverse), key=lambda _self, _asked: key)
    with pytest.raises(RuleFailed):
        key_of(wrong().key, ASKED)


def test_a_key_of_any_letters_is_taken() -> None:
    """Up to the limit, in UTF-8."""
    longest = "ä" * (MAX_KEY_BYTES // 2)
    assert key_of(saga(DEPOSIT, key=lambda _self, _asked: longest)().key, ASKED) == longest
