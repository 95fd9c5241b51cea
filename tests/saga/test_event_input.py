"""Event journals as inputs: what a batch means to a partition of sagas, and what stops the reader."""

from collections.abc import Sequence

import pytest

from bank.transfer import TransferSaga, reverse, withdraw
from bank.v1.events_pb2 import AccountFrozen, TransferRequested
from bennu.domain import Step
from bennu.errors import BadSettings, JournalBroken, RecordBroken, UnknownToBuild
from bennu.log.port import Record
from bennu.replica.journal import FORMAT_VERSION, JournalReader, Position, digest_of, encode
from bennu.v1.command_pb2 import Origin, Rejection
from bennu.v1.journal_pb2 import EpochStart, EventBatch, Outcome
from bennu.v1.position_pb2 import StreamCursor
from bennu.wire.partitioning import partition_of
from bennu_saga.definitions import Definitions
from bennu_saga.event_input import EventJournalReader
from bennu_saga.saga_loop import Delivery
from bennu_saga.signals import Answer, Heard, Signal, Signals, Trigger
from tests.saga.story import ASKED, DEPOSIT, app_with, raises, saga

FROZEN = AccountFrozen(account="a")
TOPIC, SAGAS, OTHERS = "bank-events-0", "bank-saga-0", "bank-saga-1"
WHERE = f"{TOPIC}, offset 1"
START = EpochStart(format_version=FORMAT_VERSION, epoch=1, term=7, partition=0, partitions=1)


def batch(*entries: tuple[str, object], answers: str = "", batch_no: int = 1, prev: bytes = b"") -> EventBatch:
    """Entries are (command id, event or name of a broken rule); `answers` names the stream that they came by."""
    built = EventBatch(format_version=FORMAT_VERSION, epoch=1, term=7, batch_no=batch_no, first_seq=1, prev_digest=prev)
    built.origins.append(Origin(correlation_id="correlation", traceparent="trace"))
    if answers:
        built.sources.append(StreamCursor(stream=answers, last_no=1))
    for command_id, outcome in entries:
        built.command_ids.append(command_id)
        built.event_counts.append(0 if isinstance(outcome, str) else 1)
        built.outcomes.append(Outcome.OUTCOME_REJECTED if isinstance(outcome, str) else Outcome.OUTCOME_UNSPECIFIED)
        if isinstance(outcome, str):
            built.replies.append(Rejection(reason=outcome).SerializeToString())
        else:
            assert isinstance(outcome, TransferRequested | AccountFrozen)
            _add_event(built, outcome)
    return built


def _add_event(built: EventBatch, event: TransferRequested | AccountFrozen) -> None:
    name = event.DESCRIPTOR.full_name
    if name not in built.event_types:
        built.event_types.append(name)
    built.event_type_indexes.append(list(built.event_types).index(name))
    built.events.append(event.SerializeToString())


def signals_of(found: EventBatch, *sagas: type, place: tuple[int, int] = (0, 1)) -> Sequence[Signal]:
    """What it means to this partition of sagas."""
    definitions = Definitions(app_with(*(sagas or (TransferSaga,))))
    return Signals(definitions, SAGAS, place).of(found, 0, where=WHERE)


def deliveries(*records: EpochStart | EventBatch, first_offset: int = 0) -> list[Delivery]:
    """What a reader makes of a journal that begins so."""
    reader = EventJournalReader(Signals(Definitions(app_with(TransferSaga)), SAGAS, (0, 1)), TOPIC, (0, 1))
    chunk = [Record(offset, encode(record)) for offset, record in enumerate(records, first_offset)]
    return list(reader.deliveries(JournalReader(Position(TOPIC)), chunk))


def test_a_starting_event_is_a_trigger() -> None:
    """With its place as the saga's instance, and the command, correlation and trace that it came by."""
    (found,) = signals_of(batch(("asked", ASKED)))
    assert isinstance(found, Trigger)
    assert (found.saga_id, found.instance, found.failure) == ("TransferSaga:t", "0-1", "")
    assert (found.command_id, found.correlation_id, found.traceparent) == ("asked", "correlation", "trace")
    assert TransferRequested.FromString(found.event) == ASKED


def test_an_answer_is_heard_only_by_the_asking_partition() -> None:
    """A batch without our stream among its sources holds no answer for us, whatever ids stand in it."""
    decided = (("saga:1", AccountFrozen(account="a")), ("saga:2", "account_closed"))
    assert signals_of(batch(*decided, answers=OTHERS)) == ()
    assert signals_of(batch(*decided, answers=SAGAS)) == [
        Answer(0, "saga:1", accepted=True, reason=""),
        Answer(1, "saga:2", accepted=False, reason="account_closed"),
    ]


def test_the_answer_of_a_rule_that_raised_says_what() -> None:
    """The reason stands before a colon, so that operators see the exception, and domains only the reason."""
    decided = batch(("saga:1", "rule_failed"), answers=SAGAS)
    decided.outcomes[0] = Outcome.OUTCOME_FAILED
    decided.replies[0] = Rejection(reason="rule_failed", message="bank.v1.Deposit: KeyError: 'x'").SerializeToString()
    (answer,) = signals_of(decided)
    assert isinstance(answer, Answer)
    assert (answer.accepted, answer.reason) == (False, "rule_failed: bank.v1.Deposit: KeyError: 'x'")


def test_each_saga_belongs_to_one_partition() -> None:
    """Of all partitions exactly one starts it: the one of its id."""
    found = [len(signals_of(batch(("asked", ASKED)), place=(number, 4))) for number in range(4)]
    assert found == [int(number == partition_of("TransferSaga:t", 4)) for number in range(4)]


def test_a_batch_of_no_interest_is_passed_by_its_header() -> None:
    """Its events are not even parsed, and the position moves on."""
    boring = batch(("frozen", AccountFrozen(account="a")))
    boring.events[0] = b"\xff not a message"
    (passed,) = deliveries(START, boring)
    assert list(passed.signals) == []
    assert (passed.position.offset, passed.position.batch_no) == (2, 1)


def test_each_batch_with_signals_is_delivered_with_its_position() -> None:
    """And what follows it without signals once, at the end of what was read."""
    first = batch(("asked", ASKED))
    second = batch(("frozen", AccountFrozen(account="a")), batch_no=2, prev=digest_of(encode(first)))
    second.first_seq = 2
    found = deliveries(START, first, second)
    assert [(len(each.signals), each.position.offset, each.batch_no) for each in found] == [(1, 2, 1), (0, 3, 2)]


def test_what_is_void_is_no_input() -> None:
    """A repeated batch is read past, not reacted to."""
    first = batch(("asked", ASKED))
    found = deliveries(START, first, first)
    assert [(len(each.signals), each.position.offset) for each in found] == [(1, 2), (0, 3)]


def test_an_unknown_event_type_stops_the_reader() -> None:
    """It is never skipped; topic, offset and type are named."""
    strange = batch(("asked", ASKED))
    strange.event_types.append("bank.v9.Gone")
    with pytest.raises(UnknownToBuild, match=rf"{WHERE}: event type bank\.v9\.Gone"):
        deliveries(START, strange)


def test_an_unknown_event_of_an_answer_is_its_sagas_affair() -> None:
    """The answer says so, and the others go on; the same type in anybody else's entry stops the reader."""
    strange = batch(("saga:TransferSaga:t:0-1:0f", ASKED), ("saga:TransferSaga:u:0-1:0f", FROZEN), answers=SAGAS)
    strange.event_types[0] = "bank.v9.Gone"
    first, second = signals_of(strange)
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert (first.unknown, second.unknown) == ("bank.v9.Gone", "")
    strange.command_ids[0] = "somebody-else"
    with pytest.raises(UnknownToBuild, match=r"bank\.v9\.Gone"):
        signals_of(strange)


def test_an_event_is_heard_by_the_saga_that_it_names() -> None:
    """Found by the key in it, in the partition of that saga only; one without a key is nobody's."""
    waits = Step("one", withdraw, compensation=reverse, success={AccountFrozen: lambda event: event.account})
    told = saga(waits, DEPOSIT)
    (found,) = signals_of(batch(("anybody", FROZEN)), told)
    assert isinstance(found, Heard)
    assert (found.saga_id, found.step, found.accepted) == ("Told:a", 0, True)
    assert AccountFrozen.FromString(found.event) == FROZEN
    places = [signals_of(batch(("anybody", FROZEN)), told, place=(number, 4)) for number in range(4)]
    assert sorted(map(len, places)) == [0, 0, 0, 1]
    assert signals_of(batch(("anybody", AccountFrozen())), told) == []


def test_an_answer_brings_the_events_that_a_saga_hears() -> None:
    """With their types; where no saga listens they are left where they are."""
    waits = Step("one", withdraw, compensation=reverse, success={AccountFrozen: lambda event: event.account})
    answered = batch(("saga:c", FROZEN), answers=SAGAS)
    heard = [each for each in signals_of(answered, saga(waits, DEPOSIT)) if isinstance(each, Answer)]
    assert [(each.types, list(each.events)) for each in heard] == [
        (["bank.v1.AccountFrozen"], [FROZEN.SerializeToString()])
    ]
    deaf = [each for each in signals_of(answered) if isinstance(each, Answer)]
    assert [(each.types, each.events) for each in deaf] == [((), ())]


def test_a_broken_event_stops_the_reader() -> None:
    """A starting event that can't be read is named by its place."""
    broken = batch(("asked", ASKED))
    broken.events[0] = b"\xff"
    with pytest.raises(RecordBroken, match=rf"{WHERE}: batch 1 can't be read"):
        deliveries(START, broken)


def test_missing_replies_stop_the_reader() -> None:
    """A batch of answers whose columns do not fit is not guessed at."""
    broken = batch(("saga:1", "account_closed"), answers=SAGAS)
    del broken.replies[:]
    with pytest.raises(RecordBroken, match=f"{WHERE}: batch 1 can't be read"):
        deliveries(START, broken)


def test_a_gap_stops_the_reader() -> None:
    """A batch that is missing is never passed over."""
    with pytest.raises(JournalBroken, match=f"{WHERE}: batch 2 follows batch 0"):
        deliveries(START, batch(("asked", ASKED), batch_no=2))


def test_another_number_of_partitions_is_refused() -> None:
    """A saga service that was told another number than CServer would look for answers in the wrong places."""
    other = EpochStart(format_version=FORMAT_VERSION, epoch=1, term=7, partition=0, partitions=2)
    with pytest.raises(BadSettings, match=r"partition 0 of 2, but this saga service .* 0 of 1"):
        deliveries(other)


def test_a_key_that_can_not_be_made_fails_its_saga_alone() -> None:
    """The saga is named by the event's place, and the others start as ever."""
    (broken, sound) = signals_of(batch(("asked", ASKED)), saga(DEPOSIT, key=raises), TransferSaga)
    assert isinstance(broken, Trigger)
    assert (broken.saga_id, broken.failure) == ("Told:?0-1", "rule_failed: key: ValueError: no idea")
    assert isinstance(sound, Trigger)
    assert (sound.saga_id, sound.failure) == ("TransferSaga:t", "")
