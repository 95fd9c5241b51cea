"""What must hold of a run: I1–I6, I9 and I12, judged from what was asked, what was told and what the logs say.

Nothing here uses the reader, the fold or the window under test.
"""

from collections import Counter
from collections.abc import Mapping

from bennu.replica.window import is_uuid7
from tests.simulation.logged import Logged, logged_commands
from tests.simulation.process import Process
from tests.simulation.reads import Views
from tests.simulation.said import Command, Key, Read, Told
from tests.simulation.serial import Serial, fingerprint, serial_of
from tests.simulation.truth import Entry, Truth, require, truth_of
from tests.simulation.world import UNBOUNDED, World

OK, UNKNOWN, ALREADY_EXISTS, UNAVAILABLE, FAILED_PRECONDITION = 0, 2, 6, 14, 9
REJECTED = 2


class Judgement:
    """One partition's truth, and what is judged by it."""

    def __init__(self, world: World, number: int) -> None:
        self._world = world
        self.number = number
        self.truth: Truth = truth_of(world.journal(number))
        self._logged = self._read_command_log()
        self.commands = self._attempts()
        self.serial: Serial = self._serial()
        self._entries: dict[str, list[Entry]] = {}
        for entry in self.truth.entries():
            self._entries.setdefault(entry.command_id, []).append(entry)

    def _read_command_log(self) -> list[Logged]:
        topic = self._world.commands_topic(self.number)
        bodies = self._world.broker.records(topic)
        return list(logged_commands(topic, bodies, (self.number, self._world.partitions)))

    def _attempts(self) -> Mapping[Key, Command]:
        asked = {told.command.key: told.command for told in self._world.history.told}
        asked |= self._world.history.commands
        return {**{each.command.key: each.command for each in self._logged}, **self._mine(asked)}

    def _mine(self, asked: Mapping[Key, Command]) -> dict[Key, Command]:
        mine = {}
        for key, command in asked.items():
            name = str(getattr(command.message, "account", "") or getattr(command.message, "transfer", ""))
            if self._world.partition_of(name) == self.number:
                mine[key] = command
        return mine

    def _serial(self, upto: int | None = None) -> Serial:
        return serial_of(self.truth, Serial(self.commands, slow_clocks=self._world.slow_clocks), upto=upto)

    # --- replies

    def told(self, told: Told) -> None:
        """I1, I3, I6, I12 of one answer."""
        what = f"{told.command.command_id} ({told.command.type_name}) was told {told.code} {told.reason}"
        mine = [entry for entry in self._entries.get(told.command.command_id, ()) if entry.offset < told.journal_end]
        same = [entry for entry in mine if entry.digest == told.command.key.digest]
        if told.code == OK:
            require(any(e.outcome == 0 and e.answer == told.body for e in same), "I1", f"{what}, not in the journal")
        elif told.code == FAILED_PRECONDITION:
            require(any(e.outcome == REJECTED for e in same), "I12", f"{what}, but no such entry is in the journal")
        elif told.code == ALREADY_EXISTS:
            require(len(mine) > len(same), "I12", f"{what}, but nothing exists under this id")
        elif told.reason == "NOT_DECIDED":
            by_log = any(each.command.key == told.command.key for each in self._logged)
            once = self._world.history.attempts[told.command.key] == 1 and not by_log
            require(not (once and self._ever(told.command.key)), "I12", f"{what}, yet it was decided")
        elif told.code == UNAVAILABLE or told.reason == "OUTCOME_FORGOTTEN":
            return  # says nothing
        else:
            future = self._world.slow_clocks and told.reason == "INVALID_ARGUMENT" and is_uuid7(told.command.command_id)
            require(future, "I12", f"{what}: a refusal of what was asked for rightly")

    def _ever(self, key: Key) -> bool:
        return any(entry.digest == key.digest for entry in self._entries.get(key.command_id, ()))

    def final_replies(self, replies: Mapping[Key, set[tuple[int, bytes]]]) -> None:
        """I3: one id and payload, one definite answer, ever."""
        for key, answers in replies.items():
            require(len(answers) <= 1, "I3", f"{key.command_id} was given {len(answers)} different answers")

    # --- reads

    def read(self, read: Read) -> None:
        """I10, I12 of one query."""
        if not hasattr(self, "_views"):
            self._views = Views(self.truth)
        self._views.judge(read)

    # --- logs

    def command_log(self) -> None:
        """Each command of the log had its effect exactly once, and the position reached the end."""
        topic = self._world.commands_topic(self.number)
        end = len(self._world.broker.records(topic))
        require(self.serial.inputs.get(topic, 0) == end, "I3", f"{topic}: the position stopped before {end}")
        counts = Counter(entry.command_id for entry in self.truth.entries())
        last: dict[str, int] = {}
        for logged in self._logged:
            last[logged.source] = max(last.get(logged.source, 0), logged.no)
            if logged.no or not logged.own_id:
                count = counts[logged.command.command_id]
                require(count == 1, "I3", f"{topic}: {logged.command.command_id} took effect {count} times")
        last.pop("", None)
        require(self.serial.sources == last, "I3", f"{topic}: streams stand at {self.serial.sources}, not {last}")

    # --- replicas

    def replica(self, process: Process) -> None:
        """I5: what a process holds equals a serial execution up to its position."""
        replica = process.effective(self.number)
        if replica is None:
            return
        where = f"I5 {process.label}, partition {self.number}"
        serial = self._serial(upto=replica.position.batch_no)
        require(fingerprint(replica.state.fold.states) == serial.fingerprint(), where, "states differ")  # type: ignore[attr-defined]  # CServer's fold
        kept = {command_id: self._digest_kept(replica.state.window.get(command_id)) for command_id in serial.kept}
        require(len(replica.state.window) == len(serial.kept), where, "windows differ in size")
        require(kept == {i: key.digest for i, key in serial.kept.items()}, where, "windows differ")
        inputs = {topic: position.offset for topic, position in replica.state.inputs.items()}
        require(inputs == serial.inputs, where, "input positions differ")
        require(replica.state.sources == serial.sources, where, "cursors differ")

    @staticmethod
    def _digest_kept(kept: object) -> bytes:
        return getattr(kept, "digest", b"")


def definite_replies(world: World) -> dict[Key, set[tuple[int, bytes]]]:
    """By command, the different things it was told for good."""
    found: dict[Key, set[tuple[int, bytes]]] = {}
    for told in world.history.told:
        if told.code in (OK, FAILED_PRECONDITION):
            found.setdefault(told.command.key, set()).add((told.code, told.body))
    return found


def judge(world: World) -> None:
    """All of it, for all partitions.  Raises `Violation`."""
    for process in world.lives:
        wrong = [problem for problem in process.problems() if not isinstance(problem, process.excused or ())]
        require(not wrong, "I14", f"legal faults, but {process.label} stopped: {wrong}")
    replies = definite_replies(world)
    for number in range(world.partitions):
        judgement = Judgement(world, number)
        for told in world.history.told:
            if told.partition == number:
                judgement.told(told)
        for read in world.history.reads:
            if read.wish.partition == number:
                judgement.read(read)
        for process in world.lives:
            if not process.dead:
                judgement.replica(process)
    if world.window_count == UNBOUNDED:
        Judgement(world, 0).final_replies(replies)
