"""The checks of a drill: they are silent while all promises are kept, and each planted violation is named."""

import asyncio
from collections.abc import Callable, Coroutine
from copy import copy

import pytest

from bank.drill_load import BankLoad
from bennu.drill.checks import Findings, judge, judge_repeats
from bennu.drill.journals import Journal
from bennu.errors import JournalBroken
from bennu.replica.journal import encode
from tests.drill.histories import EVENTS, TOPIC, History, status

Spoil = Callable[[History], Coroutine[None, None, None]]


async def kept(history: History) -> None:
    """A takeover with a late batch of the old leader, and everything told as it is."""
    await history.begin()
    await history.lead("open", "fund")
    await history.lead_on_too_long("out")
    await history.lead("out", "too-much")
    await history.lead("in")


async def judged(spoil: Spoil) -> tuple[Findings, History, Journal]:
    history = History()
    await spoil(history)
    journal = await history.journal()
    return judge(history.calls, [journal]), history, journal


def found(spoil: Spoil) -> dict[str, list[str]]:
    """Findings by kind, those that there are."""
    findings, _, _ = asyncio.run(judged(spoil))
    return {name: ids for name, ids in vars(findings).items() if ids}


def test_nothing_is_found_while_all_is_kept() -> None:
    """A takeover, a batch that came too late and a refusal of the domain are no violation."""
    assert found(kept) == {}


def test_an_acknowledged_command_that_is_not_in_the_log_is_lost() -> None:
    """I1: acknowledged means that its events are in the effective log."""

    async def spoil(history: History) -> None:
        await history.begin()
        await history.lead("open")
        history.tell("fund", 2)

    assert found(spoil) == {"lost": ["fund"]}


def test_an_acknowledgement_by_a_leader_whose_time_was_over_is_stale_and_lost() -> None:
    """I6: the batch that it rests on stands after the next epoch's start, and counts for nothing."""

    async def spoil(history: History) -> None:
        await history.begin()
        await history.lead("open")
        await history.lead_on_too_long("fund")
        history.tell("fund", 2)

    assert found(spoil) == {"lost": ["fund"], "stale_acknowledgements": ["fund"]}


def test_a_stale_acknowledgement_is_found_although_the_command_was_repeated() -> None:
    """I6: the new leader's batch came later than the position that was told, so that answer was not its."""

    async def spoil(history: History) -> None:
        await history.begin()
        await history.lead("open")
        await history.lead_on_too_long("fund")
        history.tell("fund", 2)
        await history.lead("too-much")
        await history.writer.take(history.batch("fund"))

    assert found(spoil) == {"stale_acknowledgements": ["fund"]}


def test_two_effects_of_one_id_are_found() -> None:
    """I3: one command id has at most one effect."""

    async def spoil(history: History) -> None:
        await kept(history)
        await history.writer.take(history.batch("in"))

    assert found(spoil)["duplicated"] == ["in"]


def test_a_reply_that_the_journal_does_not_know_is_found() -> None:
    """I1: what was told is what is in the log."""

    async def spoil(history: History) -> None:
        await kept(history)
        answer = history.calls[0].answer
        assert answer is not None
        history.calls[0].answer = answer._replace(reply=EVENTS["fund"].SerializeToString())

    assert found(spoil) == {"changed_replies": ["open"]}


def test_a_refusal_of_what_was_applied_is_found() -> None:
    """I12: a definite refusal only if it was not applied."""

    async def spoil(history: History) -> None:
        await kept(history)
        answer = history.calls[0].answer
        assert answer is not None
        history.calls[0].answer = answer._replace(code=9, reply=status("account_exists"))

    assert found(spoil) == {"refused_but_applied": ["open"], "changed_replies": ["open"]}


def test_what_nobody_asked_for_is_found() -> None:
    """I2: every event traces to a command that was sent, and with that payload."""

    async def nobody(history: History) -> None:
        await kept(history)
        history.calls = [call for call in history.calls if call.command.command_id != "in"]

    async def another_payload(history: History) -> None:
        await kept(history)
        batch = history.batch("in")
        batch.command_ids[0] = "more"
        await history.writer.take(batch)
        history.tell("in", 4).command = history.asked("out").command._replace(command_id="more")
        history.calls.pop()

    _, history, journal = asyncio.run(judged(nobody))
    assert judge(history.calls, [journal], name="i").not_asked == ["in"]
    assert judge(history.calls, [journal], name="o").not_asked == []
    assert found(nobody) == {"not_asked": ["in"]}
    assert found(another_payload)["not_asked"] == ["more"]


def test_a_command_without_an_outcome_is_found() -> None:
    """I11: it is repeated until there is one; not to get one is a finding."""

    async def spoil(history: History) -> None:
        await kept(history)
        history.calls[-1].answer = None

    assert found(spoil) == {"unanswered": ["in"]}


def test_another_answer_to_a_repeated_command_is_found() -> None:
    """I3: the original reply, byte for byte."""
    findings, history, _ = asyncio.run(judged(kept))
    repeats = [copy(call) for call in history.calls]
    judge_repeats(findings, history.calls, repeats)
    assert findings == Findings()
    assert repeats[0].answer is not None
    repeats[0].answer = repeats[0].answer._replace(reply=b"")
    repeats[1].answer = None
    judge_repeats(findings, history.calls, repeats)
    assert findings == Findings(changed_replies=["open"], unanswered=["fund"])


def test_a_broken_chain_ends_the_judging() -> None:
    """I4: a journal that has no legal history is an error that names the record."""

    async def spoil(history: History) -> None:
        await kept(history)
        batch = history.batch("in")
        batch.prev_digest = bytes(16)
        await history.writer.append(encode(batch))

    with pytest.raises(JournalBroken, match=f"{TOPIC}, offset 6: batch 4 does not continue the digest chain"):
        found(spoil)


def money(spoil: Spoil) -> list[str]:
    _, history, journal = asyncio.run(judged(spoil))
    return BankLoad(1, seed=1, name="test").conserved(history.calls, [journal])


def test_money_that_adds_up_is_conserved() -> None:
    """What was acknowledged is what accounts hold."""
    assert money(kept) == []


def test_money_from_nowhere_is_found() -> None:
    """I9: a second effect changes what an account holds, and a balance that does not follow is named."""

    async def twice(history: History) -> None:
        await kept(history)
        await history.writer.take(history.batch("in"))

    async def misstated(history: History) -> None:
        await kept(history)
        batch = history.batch("in")
        batch.events[0] = EVENTS["fund"].SerializeToString()
        await history.writer.take(batch)

    assert money(twice) == [
        "alice holds 130, but what was acknowledged adds up to 100",
        "100 was paid in and not out, but accounts hold 130",
        f"{TOPIC}, batch 4: alice holds 130, but the event says 100",
    ]
    assert money(misstated)[-1] == f"{TOPIC}, batch 4: alice holds 200, but the event says 100"
