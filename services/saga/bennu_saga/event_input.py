"""The event journals as inputs: effective batches become deliveries, in order, once each."""

from collections.abc import Iterator, Sequence
from contextlib import aclosing

from bennu.errors import BadSettings
from bennu.log.port import Log, Record
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.v1.journal_pb2 import EpochStart, EventBatch
from bennu_saga.saga_loop import Delivery, Partition
from bennu_saga.signals import Signal, Signals


class EventJournalReader:
    """Feeds one partition of sagas from partition `number` of the events.

    It goes on from the full position in the saga journal, so it sees the same history, and each batch once.
    """

    def __init__(self, signals: Signals, topic: str, place: tuple[int, int]) -> None:
        self._signals = signals
        self._topic = topic
        self._number, self._partitions = place

    async def feed(self, log: Log, partition: Partition) -> None:
        """Read for ever, with a bounded number of batches waiting to be reacted to."""
        saved = partition.replica.state.inputs.get(self._topic)
        reader = JournalReader(Position.from_proto(saved) if saved else Position(self._topic))
        async with aclosing(log.read(self._topic, reader.position.offset)) as chunks:
            async for chunk in chunks:
                for delivery in self.deliveries(reader, chunk):
                    await partition.input_slots.acquire()
                    partition.submit(delivery)

    def deliveries(self, reader: JournalReader, chunk: Sequence[Record]) -> Iterator[Delivery]:
        """One for each batch with signals; and the position after the chunk, where the last records had none."""
        said = reader.position
        for offset, body in chunk:
            where = f"{self._topic}, offset {offset}"
            verdict, record = reader.classify(offset, body)
            if isinstance(record, EpochStart):
                self._check_place(record, where)
            elif verdict is Verdict.BATCH and (signals := self._signals_of(record, where)):
                said = reader.position
                yield Delivery(signals, said, record.batch_no)
        if reader.position != said:
            yield Delivery((), reader.position, reader.position.batch_no)

    def _signals_of(self, batch: EventBatch, where: str) -> Sequence[Signal]:
        return self._signals.of(batch, self._number, where=where)

    def _check_place(self, start: EpochStart, where: str) -> None:
        if (start.partition, start.partitions) != (self._number, self._partitions):
            raise BadSettings(
                f"{where}: these events are partition {start.partition} of {start.partitions}, but this saga service "
                f"began with {self._number} of {self._partitions}; the number of partitions is fixed at creation"
            )
