"""Whether the columns of a batch fit together: what was written is read in step, or not at all."""

from collections.abc import Iterator, Sequence
from operator import or_

from bennu.errors import RecordBroken, UnknownToBuild
from bennu.v1.journal_pb2 import EventBatch, Outcome

DIGEST_BYTES = 16


def check_columns(batch: EventBatch, where: str) -> None:
    """Raise `RecordBroken`, beginning with `where`, for columns that do not fit; `UnknownToBuild` for an outcome."""
    outcomes = batch.outcomes[:]  # a slice is a list at half the cost of `list`, and is passed over at a third of it
    if (highest := _highest(outcomes)) > Outcome.OUTCOME_FAILED:
        raise UnknownToBuild(
            f"{where}: batch {batch.batch_no} has outcome {highest}, which this version of Bennu does not know"
        )
    problem = next(_problems(batch, outcomes), None)
    if problem:
        raise RecordBroken(f"{where}: batch {batch.batch_no} is broken, its columns do not fit together: {problem}")


def _problems(batch: EventBatch, outcomes: Sequence[int]) -> Iterator[str]:
    """Each a pass in C over a column or two: this is done for every batch of a replay."""
    counts = batch.event_counts[:]
    entries, events = len(batch.command_ids), len(batch.events)
    one_each = counts.count(1) == len(counts)
    if not entries == len(outcomes) == len(counts) == len(batch.command_type_indexes):
        yield f"{entries} ids, but another number of outcomes, event counts or command types"
    if len(batch.payload_digests) != DIGEST_BYTES * entries:
        yield f"{entries} entries, but {len(batch.payload_digests)} bytes of digests"
    if len(batch.event_type_indexes) != events or (len(counts) if one_each else sum(counts)) != events:
        yield f"{events} events, but another number of types or counts"
    if entries - outcomes.count(0) != len(batch.replies):
        yield f"{len(batch.replies)} replies, but another number of outcomes that have one"
    if not one_each and not all(map(or_, counts, outcomes)):
        yield "an entry that is answered by its first event has none"
    yield from _indexes(batch)


def _indexes(batch: EventBatch) -> Iterator[str]:
    if _highest(batch.event_type_indexes[:]) >= len(batch.event_types):
        yield "an event's type is not among the batch's"
    if _highest(batch.command_type_indexes[:]) >= len(batch.command_types):
        yield "a command's type is not among the batch's"
    origins = batch.origin_indexes
    if origins and (len(origins) != len(batch.command_ids) or max(origins) >= len(batch.origins)):
        yield "origin_indexes do not fit entries and origins"


def _highest(column: Sequence[int]) -> int:
    """-1 where there is none.  Nearly every column is of zeros alone, which are counted in a fifth of the time."""
    return max(column) if column.count(0) < len(column) else min(len(column), 1) - 1
