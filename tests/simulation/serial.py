"""The journal's commands decided again, one after another, by the bank's rules and nothing else.

What the kernel did in batches, ahead of the log, across takeovers, must equal this.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from bank.account import Account
from bank.app import app
from bennu.domain.aggregate import Context, Rejection, State
from bennu.v1.command_pb2 import Rejection as RejectionProto
from tests.simulation.said import Command, Key
from tests.simulation.truth import Effective, Entry, Truth, require

REJECTED = 2


class Serial:
    """States, replies kept, positions and cursors, as they must be after the batches taken so far."""

    def __init__(self, commands: Mapping[Key, Command], *, slow_clocks: bool) -> None:
        self._commands = commands
        self._slow_clocks = slow_clocks
        self.states: list[dict[str, State]] = [{} for _ in app.kinds]
        self.outcomes: dict[str, int] = {}
        self.kept: dict[str, Key] = {}
        self.inputs: dict[str, int] = {}
        self.sources: dict[str, int] = {}
        self._batches: deque[list[str]] = deque()
        self.money_minor = 0

    def take(self, effective: Effective, window_count: int) -> None:
        """Apply one effective batch.  Raises `Violation`."""
        for entry in effective.entries:
            self._take(entry)
        self._positions(effective)
        ids = [entry.command_id for entry in effective.entries]
        if ids:
            self._batches.append(ids)
        while self._batches and len(self.kept) > window_count:
            for command_id in self._batches.popleft():
                self.kept.pop(command_id, None)

    def _take(self, entry: Entry) -> None:
        where = f"offset {entry.offset}, command {entry.command_id}"
        require(entry.command_id not in self.kept, "I3", f"{where}: decided again although its reply is kept")
        command = self._commands.get(Key(entry.command_id, entry.digest))
        if command is None:
            require(False, "I2", f"{where}: nobody asked for it")
            return
        require(command.type_name == entry.type_name, "I2", f"{where}: journaled as {entry.type_name}")
        refused = self._refused_before_rules(command)
        if self._slow_clocks and claims_the_future(entry):
            require(not entry.events, "I12", f"{where}: refused, yet it has events")
        elif refused:
            self._rejected(entry, refused)
        else:
            self._decided(entry, command)
        self.outcomes[entry.command_id] = entry.outcome
        self.kept[entry.command_id] = command.key

    def _refused_before_rules(self, command: Command) -> str:
        if command.refusal or not command.compensates:
            return command.refusal
        if command.compensates not in self.kept:
            return "outcome_forgotten"
        return "" if self.outcomes[command.compensates] == 0 else "nothing_to_compensate"

    def _rejected(self, entry: Entry, reason: str) -> None:
        said = RejectionProto.FromString(entry.reply).reason if entry.outcome == REJECTED else "carried out"
        require(said == reason, "I12", f"command {entry.command_id}: {said}, but the rules say {reason}")
        require(not entry.events, "I12", f"command {entry.command_id}: rejected, yet it has events")

    def _decided(self, entry: Entry, command: Command) -> None:
        rule = app.commands[command.type_name]
        states, key = self.states[rule.aggregate], rule.key(command.message)
        state = states.setdefault(key, app.kinds[rule.aggregate].state())
        decided: Any = rule.decide(state, command.message, Context(entry.command_id, "", entry.recorded_at_us))
        if isinstance(decided, Rejection):
            self._rejected(entry, decided.reason)
            return
        expected = [(decided.DESCRIPTOR.full_name, decided.SerializeToString())]
        require(
            entry.outcome == 0 and list(entry.events) == expected,
            "I9",
            f"offset {entry.offset}, command {entry.command_id}: the journal's events are not what the rules decide "
            "in the state before it",
        )
        app.events[expected[0][0]].evolve(state, decided)
        self._check_money(state, decided, entry)

    def _check_money(self, state: State, event: Any, entry: Entry) -> None:  # noqa: ANN401 - any of the bank's events
        if not isinstance(state, Account):
            return
        name, amount = type(event).__name__, getattr(event, "amount_minor", 0)
        self.money_minor += {"Deposited": amount, "WithdrawalReversed": amount, "Withdrawn": -amount}.get(name, 0)
        require(state.balance_minor >= 0, "I9", f"offset {entry.offset}: a balance of {state.balance_minor}")

    def _positions(self, effective: Effective) -> None:
        for position in effective.batch.inputs:
            before = self.inputs.get(position.topic, 0)
            require(position.offset >= before, "I4", f"offset {effective.offset}: {position.topic} goes back")
            self.inputs[position.topic] = position.offset
        for cursor in effective.batch.sources:
            before = self.sources.get(cursor.stream, 0)
            require(cursor.last_no > before, "I3", f"offset {effective.offset}: stream {cursor.stream} does not go on")
            self.sources[cursor.stream] = cursor.last_no

    def balance_minor(self) -> int:
        """All money on accounts."""
        return sum(state.balance_minor for state in self.states[0].values() if isinstance(state, Account))

    def fingerprint(self) -> dict[str, bytes]:
        """The states that were ever changed, to be compared with a replica's."""
        return fingerprint(self.states)


def fingerprint(states: list[dict[str, State]]) -> dict[str, bytes]:
    """States as bytes; those equal to never having been heard of are left out, as nothing tells them apart."""
    blank = [msgspec.msgpack.encode(kind.state()) for kind in app.kinds]
    return {
        f"{number}/{key}": encoded
        for number, kind in enumerate(states)
        for key, state in kind.items()
        if (encoded := msgspec.msgpack.encode(state)) != blank[number]
    }


def claims_the_future(entry: Entry) -> bool:
    """Whether a new id was refused because the leader's clock was set back."""
    return entry.outcome == REJECTED and b"claims to be made in the future" in entry.reply


def serial_of(truth: Truth, serial: Serial, *, upto: int | None = None) -> Serial:
    """After all batches, or those up to a number, with the window that each epoch fixes.  Raises `Violation`."""
    counts = {start.epoch: start.window_count for _, start in truth.starts}
    for effective in truth.batches[:upto]:
        serial.take(effective, counts[effective.batch.epoch])
    require(serial.balance_minor() == serial.money_minor, "I9", "money is not conserved")
    return serial
