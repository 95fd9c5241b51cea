"""Which layout of a batch replays faster and is smaller: a message per entry, or columns?  See docs/adr/0004.

Both are parsed and folded by the same bare loop, reply window included; figures are medians of several rounds.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

from grpc_tools import protoc

from bank.v1.events_pb2 import Deposited

ENTRIES = 1_000
BATCHES = 60
ROUNDS = 5

ROWS = """
syntax = "proto3";
package layout.rows;
message Event { uint32 type = 1; bytes payload = 2; }
message Entry {
  string command_id = 1; bytes digest = 2; uint32 command_type = 3; uint32 origin = 4; uint32 outcome = 5;
  bytes reply = 6; repeated Event events = 7;
}
message Batch { repeated Entry entries = 1; }
"""
COLUMNS = """
syntax = "proto3";
package layout.columns;
message Batch {
  repeated string command_ids = 1; bytes digests = 2; repeated uint32 command_types = 3; repeated uint32 origins = 4;
  repeated uint32 outcomes = 5; repeated uint32 counts = 6; repeated bytes replies = 7;
  repeated uint32 types = 8; repeated bytes events = 9;
}
"""


def compiled(directory: Path, name: str, text: str) -> Any:
    """The batch class of a layout."""
    (directory / f"layout_{name}.proto").write_text(text)
    if protoc.main(["protoc", f"-I{directory}", f"--python_out={directory}", f"layout_{name}.proto"]):
        raise SystemExit(f"the layout `{name}` does not compile")
    return import_module(f"layout_{name}_pb2").Batch


def entries() -> list[tuple[str, bytes, bytes]]:
    """Command id, digest and event of deposits as the bank writes them."""
    made = []
    for i in range(ENTRIES):
        event = Deposited(account=f"acc-{i % 100:05}", amount_minor=100 + i, currency="EUR", balance_minor=10_000 + i)
        made.append((f"018f4e2c-{i:04x}-7abc-8def-0123456789ab", bytes(16), event.SerializeToString()))
    return made


def rows(batch_class: Any) -> bytes:
    """A batch with one message per entry; the reply is the event, so it is not repeated in either layout."""
    batch = batch_class()
    for command_id, digest, event in entries():
        entry = batch.entries.add(command_id=command_id, digest=digest)
        entry.events.add(payload=event)
    return bytes(batch.SerializeToString())


def columns(batch_class: Any) -> bytes:
    """The same batch in columns."""
    ids, digests, events = zip(*entries(), strict=True)
    batch = batch_class(command_ids=ids, digests=b"".join(digests), events=events)
    batch.counts.extend([1] * ENTRIES)
    for column in (batch.command_types, batch.outcomes, batch.types):
        column.extend([0] * ENTRIES)
    return bytes(batch.SerializeToString())


def replay_rows(batch_class: Any, body: bytes, state: dict[str, int], *, window: dict[str, bytes]) -> None:
    """Fold a batch of rows."""
    for entry in batch_class.FromString(body).entries:
        for event in entry.events:
            found = Deposited.FromString(event.payload)
            state[found.account] = found.balance_minor
        window[entry.command_id] = entry.digest + entry.events[0].payload


def replay_columns(batch_class: Any, body: bytes, state: dict[str, int], *, window: dict[str, bytes]) -> None:
    """Fold a batch of columns."""
    batch = batch_class.FromString(body)
    first, digests, events = 0, batch.digests, list(batch.events)
    for raw in events:
        found = Deposited.FromString(raw)
        state[found.account] = found.balance_minor
    for i, (command_id, count) in enumerate(zip(batch.command_ids, batch.counts, strict=True)):
        window[command_id] = digests[16 * i : 16 * i + 16] + events[first]
        first += count


def rate(replay: Callable[..., None], batch_class: Any, body: bytes) -> float:
    """Entries replayed a second, median."""
    found = []
    for _ in range(ROUNDS):
        state: dict[str, int] = {}
        window: dict[str, bytes] = {}
        began = perf_counter()
        for _ in range(BATCHES):
            replay(batch_class, body, state, window=window)
        found.append(ENTRIES * BATCHES / (perf_counter() - began))
    return statistics.median(found)


def main() -> None:
    """Print both."""
    with tempfile.TemporaryDirectory() as directory:
        sys.path.insert(0, directory)
        by_row = compiled(Path(directory), "rows", ROWS)
        by_column = compiled(Path(directory), "columns", COLUMNS)
        row_body, column_body = rows(by_row), columns(by_column)
        row_rate, column_rate = rate(replay_rows, by_row, row_body), rate(replay_columns, by_column, column_body)
    fewer = 1 - len(column_body) / len(row_body)
    print(f"a message per entry  {len(row_body) / ENTRIES:6.1f} bytes/entry  {row_rate:10,.0f} entries/s")
    print(f"columns              {len(column_body) / ENTRIES:6.1f} bytes/entry  {column_rate:10,.0f} entries/s")
    print(f"columns are {column_rate / row_rate:.2f} times as fast, with {fewer:.0%} fewer bytes")


if __name__ == "__main__":
    main()
