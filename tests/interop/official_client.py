"""RocketMQ's own Python client as it comes: sends a command batch, and reads the journal; see test_official_client.py.

    python official_client.py PROXY GROUP

A process of its own, because importing this client closes log handlers and makes `~/logs`.  Prints what it read of
its own commands, as JSON: [command id, type of the event, the event's bytes in hex] by the order in the journal.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator

from rocketmq import ClientConfiguration, Credentials, FilterExpression, Message, Producer, SimpleConsumer

from bank.v1.commands_pb2 import Deposit, OpenAccount
from bennu.v1.command_pb2 import CommandBatch, Origin
from bennu.v1.journal_pb2 import EventBatch, JournalRecord

OPEN, DEPOSIT = "official-open", "official-deposit"
COMMANDS = {
    OPEN: OpenAccount(account="official", owner="RocketMQ", currency="EUR"),
    DEPOSIT: Deposit(account="official", amount_minor=1234, currency="EUR"),
}
ACTOR = "official-client"
TIMES_SENT = 2
"""As after a timeout: a command counts once, however often it is sent."""

LONG_POLL_S = 5
"""The shortest that the proxy takes."""
INVISIBLE_S = 30
RECORDS = 32
DEADLINE_S = 60

Event = tuple[str, str, str]


def record() -> bytes:
    """The commands as one record of a command log."""
    types = [command.DESCRIPTOR.full_name for command in COMMANDS.values()]
    batch = CommandBatch(
        format_version=1,
        types=types,
        command_ids=list(COMMANDS),
        type_indexes=range(len(types)),
        payloads=[command.SerializeToString() for command in COMMANDS.values()],
        origins=[Origin(actor=ACTOR)],
    )
    return batch.SerializeToString()


class Reader(SimpleConsumer):  # type: ignore[misc]  # this client is published without types
    """Tells when the proxy knows it: asked before that, the proxy answers with a NullPointerException."""

    def __init__(self, configuration: ClientConfiguration, group: str) -> None:
        self.is_known = threading.Event()
        super().__init__(configuration, group, {"bank-events-0": FilterExpression()}, LONG_POLL_S)

    def reset_setting(self, settings: object) -> None:
        """The proxy has answered to the settings that were sent."""
        super().reset_setting(settings)
        self.is_known.set()


def send(configuration: ClientConfiguration) -> None:
    """Send the record."""
    producer = Producer(configuration, ["bank-commands-0"])
    producer.startup()
    try:
        for _ in range(TIMES_SENT):
            message = Message()
            message.topic, message.body = "bank-commands-0", record()
            producer.send(message)
    finally:
        producer.shutdown()


def receive(consumer: Reader) -> Iterator[Event]:
    """The next events that came of these commands."""
    for message in consumer.receive(RECORDS, INVISIBLE_S):
        found = JournalRecord.FromString(message.body)
        if found.HasField("batch"):
            yield from events_in(found.batch)
        consumer.ack(message)


def events_in(batch: EventBatch) -> Iterator[Event]:
    """The events of the entries that carry our ids."""
    events = zip(batch.event_type_indexes, batch.events, strict=True)
    for command_id, count in zip(batch.command_ids, batch.event_counts, strict=True):
        for kind, event in [next(events) for _ in range(count)]:
            if command_id in COMMANDS:
                yield command_id, batch.event_types[kind], event.hex()


def main(proxy: str, group: str) -> None:
    """A new group begins where its topic ends, and that is settled when it first asks: so it asks, and then we send."""
    configuration = ClientConfiguration(proxy, Credentials())
    consumer = Reader(configuration, group)
    consumer.startup()
    try:
        assert consumer.is_known.wait(DEADLINE_S)
        found = list(receive(consumer))
        send(configuration)
        deadline = time.monotonic() + DEADLINE_S
        while len(found) < len(COMMANDS) and time.monotonic() < deadline:
            found += receive(consumer)
    finally:
        consumer.shutdown()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
