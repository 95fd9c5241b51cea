"""After the last misfortune: everything works again, everybody agrees, and what was told is judged."""

import asyncio
from collections.abc import Callable
from functools import partial

from bank.transfer import REQUESTED
from bennu.members.placement import placed
from bennu_saga.state import COMPENSATION_FAILED
from tests.simulation.clients import bank_command, new_id
from tests.simulation.invariants import Judgement, judge
from tests.simulation.network import Network
from tests.simulation.process import Process
from tests.simulation.sagas import Transfers
from tests.simulation.said import command_of
from tests.simulation.truth import require, truth_of
from tests.simulation.world import ACCOUNTS, SLOTS, World

HEALED_WITHIN_S = 10.0
SETTLED_WITHIN_S = 15.0
SAGAS_END_WITHIN_S = 150.0
"""A step that nobody answered is given up after a minute."""
LOOK_S = 0.1
KNOWN = (0, 9)
"""Codes of commands that were decided."""
INVALID = 3
"""A clock that was set back takes new ids for ids of the future."""


class Healing:
    """The end of a run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._network = Network(world)

    async def run(self) -> None:
        """Raises `Violation`."""
        self._world.note("healing")
        self._world.neighbours.lost = 0.0
        await asyncio.sleep(max(0.0, self._world.calm_s - self._world.loop.time()) + 0.1)
        self._twins_are_gone()
        for slot in range(self._world.size):
            process = self._world.slots[slot]
            if process is None or process.dead:
                self._world.start(slot)
        await self._serves()
        judge(self._world)
        await self._within(SETTLED_WITHIN_S, "everybody has a place", self._settled)
        judge(self._world)
        if self._world.random.random() < 0.5:
            self._begin_anew()
            await self._serves()
        await self._everything_again()
        await self._transfers_end()
        judge(self._world)
        for number in range(self._world.partitions):
            Judgement(self._world, number).command_log()
        require(not self._world.unheard, "I14", f"errors that nobody heard of: {self._world.unheard}")

    async def _within(self, seconds: float, what: str, holds: Callable[[], str]) -> None:
        until_s = self._world.loop.time() + seconds
        while problem := holds():
            self._nobody_ended()
            require(self._world.loop.time() < until_s, "I11", f"not within {seconds:.0f} s that {what}: {problem}")
            await asyncio.sleep(LOOK_S)

    def _nobody_ended(self) -> None:
        for process in self._world.live():
            problems = process.problems()
            require(not process.ended and not problems, "I14", f"legal faults, but {process.label} stopped: {problems}")

    def _twins_are_gone(self) -> None:
        for twin, first in self._world.twins.items():
            require(twin.dead or twin.ended or first.dead, "I14", f"{twin.label} has the name of another, and goes on")
            twin.kill()

    def _begin_anew(self) -> None:
        """What a single process reads from the logs is all there is."""
        for slot in range(SLOTS):
            self._world.kill(slot)
        self._world.start(0)

    # --- I11: it works

    async def _serves(self) -> None:
        """A new command succeeds soon, of every partition, through every process; and what the logs hold is taken."""
        until_s = self._world.loop.time() + HEALED_WITHIN_S
        for process in self._world.live():
            for account in self._one_of_each():
                await self._takes(process, account, until_s)
        for number in range(self._world.partitions):
            await self._within(HEALED_WITHIN_S, "commands are read", partial(self._consumed, number))

    def _one_of_each(self) -> list[str]:
        return list({self._world.partition_of(account): account for account in ACCOUNTS}.values())

    async def _takes(self, process: Process, account: str, until_s: float) -> None:
        asked = [command_of(new_id(self._world, "healed"), bank_command(self._world.random, account))]
        replies, codes = None, (*KNOWN, *(INVALID,) * self._world.slow_clocks)
        while replies is None or replies[0][0] not in codes:
            said = f"healed, but {process.label} says {replies}, ends with {process.problems()}"
            require(self._world.loop.time() < until_s, "I11", said)
            await asyncio.sleep(LOOK_S)
            replies = await self._network.ask(process, asked)

    def _consumed(self, number: int) -> str:
        leader, topic = self._world.leader(number), self._world.commands_topic(number)
        partition = leader and leader.members[number].partition
        end = len(self._world.broker.records(topic))
        if partition and partition.replica.state.input_offset(topic) == end:
            return ""
        return f"{topic} is not read to {end}"

    # --- everybody agrees

    def _settled(self) -> str:
        """One leader each, the preferred one unless an operator named it; the others follow and have read all."""
        live = self._world.live()
        names = frozenset(process.name for process in live)
        wanted = placed(dict.fromkeys(range(self._world.partitions), names))
        problems = (self._unsettled(number, wanted[number], live) for number in range(self._world.partitions))
        return next((problem for problem in problems if problem), "")

    def _unsettled(self, number: int, wanted: str, live: list[Process]) -> str:
        leading = [process for process in live if number in process.led]
        if len(leading) != 1:
            return f"partition {number} is led by {[process.label for process in leading]}"
        if leading[0].name != wanted and not leading[0].members[number].seat().pinned:
            return f"partition {number} is led by {leading[0].label}, not by {wanted}"
        newest = {process.label: _newest(process, number) for process in live}
        return "" if len(set(newest.values())) == 1 and None not in newest.values() else f"{number}: {newest}"

    # --- I3: nothing happens twice

    async def _everything_again(self) -> None:
        """Each command of a client once more; nothing may be left without a definite answer."""
        for command in list({told.command.key: told.command for told in self._world.history.told}.values()):
            process = self._world.random.choice(self._world.live())
            replies = await self._network.ask(process, [command])
            said = f"healed, but {command.command_id} was told {replies}"
            require(replies is not None and replies[0][0] != 14, "I11", said)
        for process in self._world.live():
            for account in ACCOUNTS:
                newest = self._world.newest[self._world.partition_of(account)]
                linearizable = self._world.random.random() < 0.5
                reply = await self._network.read(process, account, linearizable=linearizable, batch_no=newest)
                require(reply is not None and reply[0] in KNOWN, "I11", f"healed, but a query was told {reply}")

    # --- I8: no transfer is stuck on its way

    async def _transfers_end(self) -> None:
        if not self._world.definitions:
            return
        await self._within(SAGAS_END_WITHIN_S, "all transfers end", self._under_way)
        for number in range(self._world.partitions):  # what a saga sent last
            await self._within(HEALED_WITHIN_S, "commands are read", partial(self._consumed, number))
        transfers_of(self._world).judge()

    def _under_way(self) -> str:
        """As far as the leaders know."""
        stuck = requested = 0
        for number in range(self._world.partitions):
            leader = self._world.leader(number)
            folds = [
                sagas.members[number].partition for sagas in map(self._world.sagas.get, self._world.live()) if sagas
            ]
            led = [partition.fold for partition in folds if partition]
            partition = leader and leader.members[number].partition
            if not partition or len(led) != 1 or led[0].running:
                return f"{number}: {[fold.running for fold in led]} run"
            stuck += led[0].counts[COMPENSATION_FAILED]
            requested += sum(state.status == REQUESTED for state in partition.fold.states[1].values())  # type: ignore[attr-defined]  # a transfer
        return "" if stuck == requested else f"{requested} requested, {stuck} stuck"


def _newest(process: Process, number: int) -> int | None:
    replica = process.effective(number)
    return replica.position.batch_no if replica else None


def transfers_of(world: World) -> Transfers:
    """What all journals say of transfers."""
    sagas = [[body or b"" for body in world.broker.records(world.saga_topic(n))] for n in range(world.partitions)]
    return Transfers([truth_of(world.journal(n)) for n in range(world.partitions)], sagas)
