"""Frames of commands of the bank, as a client of the stream sends them."""

from collections.abc import Sequence

from bank.v1.commands_pb2 import Deposit, OpenAccount
from bennu.v1.stream_pb2 import CommandFrame
from bennu.wire.commands import command_batch

NAMES = [f"acc-{number:05}" for number in range(1_000)]


def opening_frames(size: int, names: Sequence[str] = NAMES) -> list[bytes]:
    """Frames that open the accounts."""
    payloads = [OpenAccount(account=name, currency="EUR").SerializeToString() for name in names]
    return [
        _frame(number, "bank.v1.OpenAccount", payloads[first : first + size], id_prefix=f"open-{first}")
        for number, first in enumerate(range(0, len(names), size))
    ]


def deposit_frames(size: int, count: int, *, run: str, names: Sequence[str] = NAMES) -> list[bytes]:
    """So many frames of deposits; each command has an id of its own, made from `run`."""
    payloads = [Deposit(account=name, currency="EUR", amount_minor=5).SerializeToString() for name in names]
    return [
        _frame(
            number,
            "bank.v1.Deposit",
            [payloads[(number * size + i) % len(payloads)] for i in range(size)],
            id_prefix=f"{run}-{number}",
        )
        for number in range(count)
    ]


def _frame(number: int, type_name: str, payloads: list[bytes], *, id_prefix: str) -> bytes:
    commands = command_batch((f"{id_prefix}-{i}", type_name, payload) for i, payload in enumerate(payloads))
    return CommandFrame(frame_id=number, commands=commands).SerializeToString()
