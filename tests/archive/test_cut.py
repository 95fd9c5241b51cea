"""What is archived in one step is all that can be, and refers to nothing that is not archived."""

from collections.abc import Iterator, Mapping
from itertools import product
from random import Random

from bennu.archive.cut import Part, Waiting, closed_cut
from bennu.archive.history import history_of
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu.log.port import Record
from tests.archive.bank import TOPICS, Bank
from tests.log.helpers import run

Ends = Mapping[str, int]


def history(seed: str, steps: int) -> dict[str, list[Waiting]]:
    """All records of a bank, with what they refer to."""
    broker, chance = MemoryBroker(), Random(seed)

    async def live() -> None:
        bank = Bank(MemoryLog(broker))
        await bank.open()
        for _ in range(steps):
            await bank.step(chance)

    run(live())
    return {topic: list(waiting(topic, broker)) for topic in TOPICS}


def waiting(topic: str, broker: MemoryBroker) -> Iterator[Waiting]:
    """The records of one topic."""
    ahead = history_of(topic)
    for offset, body in enumerate(broker.records(topic)):
        assert body is not None
        yield Waiting(Record(offset, body), ahead.causes(offset, body), ahead.take(offset, body))


def parts(found: Mapping[str, list[Waiting]], archived: Ends, read: Ends) -> dict[str, Part]:
    """What is archived up to there, and waits up to there."""
    return {
        topic: Part(
            archived[topic],
            dict(step for one in all_of[: archived[topic]] for step in one.reached),
            all_of[archived[topic] : read[topic]],
        )
        for topic, all_of in found.items()
    }


def is_closed(found: Mapping[str, list[Waiting]], ends: Ends) -> bool:
    """By the definition: every cause of every record is there."""
    numbers = {topic: dict(s for one in found[topic][: ends[topic]] for s in one.reached) for topic in TOPICS}
    return all(
        cause.offset <= ends[cause.topic] and cause.number <= numbers[cause.topic].get(cause.stream, 0)
        for topic in TOPICS
        for one in found[topic][: ends[topic]]
        for cause in one.causes
    )


def test_a_chain_of_any_length_is_archived_in_one_step() -> None:
    """Causes need not be archived in a step before: an archiver keeps up, however often logs answer one another."""
    found = history("chain", 600)
    none, read = dict.fromkeys(TOPICS, 0), {topic: len(found[topic]) for topic in TOPICS}
    assert is_closed(found, read)
    assert closed_cut(parts(found, none, read)) == read


def test_a_cut_is_closed_and_none_is_greater() -> None:
    """Compared with every cut there is, whatever is archived already and however far each topic was read."""
    seed = Random().randrange(1 << 32)
    print("seed", seed)
    chance = Random(seed)
    for round_no in range(60):
        found = history(f"{seed}/{round_no}", 14)
        closed = [
            ends
            for places in product(*(range(len(found[topic]) + 1) for topic in TOPICS))
            if is_closed(found, ends := dict(zip(TOPICS, places, strict=True)))
        ]
        archived = chance.choice(closed)
        read = {topic: chance.randint(archived[topic], len(found[topic])) for topic in TOPICS}
        counts = closed_cut(parts(found, archived, read))
        within = [ends for ends in closed if all(archived[t] <= ends[t] <= read[t] for t in TOPICS)]
        best = {topic: max(ends[topic] for ends in within) - archived[topic] for topic in TOPICS}
        assert counts == best, f"seed {seed}/{round_no}"
