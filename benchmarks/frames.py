"""Frames of commands of the bank, as a client of the stream sends them."""

from collections.abc import Sequence

from bank.v1.commands_pb2 import Deposit, OpenAccount, Transfer
from bennu.v1.stream_pb2 import CommandFrame
from bennu.wire.commands import command_batch

NAMES = [f"acc-{number:05}" for number in range(1_000)]
FUNDS_MINOR = 1_000_000


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


def funding_frames(size: int, names: Sequence[str] = NAMES) -> list[bytes]:
    """Frames that pay so much into each account that no transfer is refused."""
    payloads = [Deposit(account=name, currency="EUR", amount_minor=FUNDS_MINOR).SerializeToString() for name in names]
    return [
        _frame(number, "bank.v1.Deposit", payloads[first : first + size], id_prefix=f"fund-{first}")
        for number, first in enumerate(range(0, len(names), size))
    ]


def transfer_frames(size: int, count: int, *, run: str, names: Sequence[str] = NAMES) -> list[tuple[list[str], bytes]]:
    """So many frames of transfers, each with the transfers' names: every account pays as often as it is paid."""
    found = []
    for number in range(count):
        places = range(number * size, (number + 1) * size)
        transfers = [
            Transfer(
                transfer=f"{run}-{n}",
                source=names[n % len(names)],
                target=names[(n + 1) % len(names)],
                amount_minor=1,
                currency="EUR",
            )
            for n in places
        ]
        payloads = [transfer.SerializeToString() for transfer in transfers]
        frame = _frame(number, "bank.v1.Transfer", payloads, id_prefix=f"{run}-{number}")
        found.append(([transfer.transfer for transfer in transfers], frame))
    return found


def _frame(number: int, type_name: str, payloads: list[bytes], *, id_prefix: str) -> bytes:
    commands = command_batch((f"{id_prefix}-{i}", type_name, payload) for i, payload in enumerate(payloads))
    return CommandFrame(frame_id=number, commands=commands).SerializeToString()
