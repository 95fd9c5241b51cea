"""The event journals as inputs: effective batches become deliveries, in order, once each."""

from collections.abc import Iterator, Sequence
from contextlib import aclosing

from bennu.errors import BadSettings, JournalBroken
from bennu.log.port import Log, Record
from bennu.replica.journal import JournalReader, Position, Verdict
from bennu.v1.journal_pb2 import EpochStart
from bennu_saga.saga_loop import Delivery, Partition
from bennu_saga.signals import Signals


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
                    await self._check_taken(delivery, partition)
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
            elif verdict is Verdict.BATCH:
                signals = self._signals.of(record, self._number, where=where)
                taken_no = self._signals.taken_no(record)
                if signals or taken_no:
                    said = reader.position
                    yield Delivery(signals, said, record.batch_no, taken_no=taken_no)
        if reader.position != said:
            yield Delivery((), reader.position, reader.position.batch_no)

    async def _check_taken(self, delivery: Delivery, partition: Partition) -> None:
        """Raise `JournalBroken` if more was taken than our journal issued: it is an older one.

        Who was deposed and has not heard of it finds numbers of the next leader; it hears of it here.
        """
        destination = f"{self._topic.removesuffix(f'-events-{self._number}')}-commands-{self._number}"
        stream, last_no = partition.replica.topic, partition.fold.outbox.box(destination).last_no
        if delivery.taken_no <= last_no:
            return
        await partition.still_leads()
        raise JournalBroken(
            f"{self._topic}: command {delivery.taken_no} of stream {stream} was taken, but that journal has issued "
            f"{last_no} for {destination}: its end is missing, and others of these numbers would be dropped; "
            f"restore {stream} as it was when they were sent, or later"
        )

    def _check_place(self, start: EpochStart, where: str) -> None:
        if (start.partition, start.partitions) != (self._number, self._partitions):
            raise BadSettings(
                f"{where}: these events are partition {start.partition} of {start.partitions}, but this saga service "
                f"began with {self._number} of {self._partitions}; the number of partitions is fixed at creation"
            )
