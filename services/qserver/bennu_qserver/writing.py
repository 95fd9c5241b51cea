"""The write path of a loop: each transaction moves the position from what it was, then writes rows and dead letters.

    as a whole       the merged rows of many events, and the events of parked keys that came in between
    event by event   when the whole can't be written, or was read before other keys were parked: see `trial`
    by wish          what operators want to become of parked events; the position stays, and is checked

Rows, letters and position are one transaction, so whatever crashes, none is lost and none is there twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

import structlog
from asyncpg import exceptions as pg

from bennu.cancellation import is_cancelled
from bennu.replica.journal import Position
from bennu_qserver import dead_letters, notices, positions
from bennu_qserver.database import Connection, Database
from bennu_qserver.dispatch import CompiledProjection
from bennu_qserver.errors import EventFault, PositionMoved, TooSlow
from bennu_qserver.executing import execute
from bennu_qserver.limits import RETRY_EVENTS
from bennu_qserver.parked import Parked, ParkedGauges
from bennu_qserver.pending import Work
from bennu_qserver.positions import Place
from bennu_qserver.rows import RowChanges, Write
from bennu_qserver.status import Gauges
from bennu_qserver.trial import Letter, Trial

logger = structlog.get_logger()
T = TypeVar("T")


class Done(NamedTuple):
    """What a transaction wrote."""

    writes: list[Write]
    letters: list[Letter]
    parked: Parked


class LetGo(Exception):
    """A key that is taken for parked is parked no more: another process has let go of it."""


class Writer:
    """Writes for one projection in one partition, from a position on."""

    def __init__(
        self, projection: CompiledProjection, place: Place, *, database: Database, gauges: tuple[Gauges, ParkedGauges]
    ) -> None:
        self._projection = projection
        self._place = place
        self._database = database
        self._gauges, self._parked_gauges = gauges
        self._topic = projection.topic(place.partition)
        self._turn = asyncio.Lock()
        self.saved = Position(self._topic)
        self.parked = Parked()
        self._wished: dict[str, int] = {}
        self._retried = RETRY_EVENTS

    def begin(self, position: Position, parked: Parked) -> None:
        """Go on from here."""
        self.saved = position
        self._know(parked)

    def end(self) -> None:
        """Show nothing as parked: whoever goes on shows it."""
        self._parked_gauges.show(Parked())

    def new_work(self, position: Position) -> Work:
        """To be filled by the reader."""
        return Work(self._new_rows(), position, self.parked)

    async def write(self, work: Work) -> None:
        """One transaction; several, if Postgres has no patience with one.  Raises `PositionMoved`."""
        try:
            await self._write(work)
        except TooSlow as slow:
            logger.warning("cut in two", place=str(self._place), batches=len(work.batches), reason=str(slow))
            with self._database.waiting(str(slow)):
                for half in work.halves(self.new_work, self._projection, partition=self._place.partition):
                    await self.write(half)

    async def _write(self, work: Work) -> None:
        async with self._turn:
            began_s = time.monotonic()
            done = await self._whole(work) or await self._event_by_event(work)
            events = work.position.next_seq - self.saved.next_seq
            self.saved = work.position
            self._know(done.parked)
        self._gauges.committed(work, done.writes, events=events, seconds=time.monotonic() - began_s)
        self._parked_gauges.added(done.letters)

    async def carry_out_wishes(self) -> None:
        """What operators want to become of parked events, until nothing more is wanted.  Raises `PositionMoved`."""
        while await self._database.run(lambda connection: dead_letters.is_wished(connection, self._place)):
            try:
                async with self._turn:
                    self._know(await self._moving(self.saved, self._carry_out, may_be_cut=self._retried > 1))
            except TooSlow as slow:
                self._retried //= 2
                logger.warning("fewer at once", place=str(self._place), most=self._retried, reason=str(slow))
                continue
            self._retried = min(2 * self._retried, RETRY_EVENTS)
            logger.info("operators' wishes are carried out", place=str(self._place), **self._wished)

    # --- transactions

    async def _whole(self, work: Work) -> Done | None:
        """None, and nothing is written, if it can't be written so."""
        writes = None if work.parked is not self.parked else await work.writes()
        if writes is None:
            return None
        letters = [Letter(event, key, None) for event, key in work.aside]

        async def transaction(connection: Connection) -> Parked:
            await self._park_more(connection, letters)
            for write in writes:
                await execute(connection, write)
            await notices.tell(connection, self._place, writes, batch_no=work.position.batch_no)
            return self.parked

        try:
            parked = await self._moving(work.position, transaction, may_be_cut=len(work.batches) > 1)
        except (EventFault, LetGo):
            return None
        if parked is self.parked:  # else it was read again
            parked.put(letters)
        return Done(writes, letters, parked)

    async def _park_more(self, connection: Connection, letters: list[Letter]) -> None:
        if not letters:
            return
        last_seqs = {self.parked.last_seqs[letter.key] for letter in letters}
        if not await dead_letters.are_parked(connection, self._place, last_seqs):
            raise LetGo
        await dead_letters.park(connection, self._place, letters)

    async def _event_by_event(self, work: Work) -> Done:
        events = list(work.again(self._projection, partition=self._place.partition))
        done = Done([], [], self.parked)

        async def transaction(connection: Connection) -> Parked:
            nonlocal done
            parked = await dead_letters.load(connection, self._place)
            trial = Trial(connection, self._new_rows, parked.last_seqs)
            await trial.take(events)
            await dead_letters.park(connection, self._place, trial.letters)
            await notices.tell(connection, self._place, trial.writes, batch_no=work.position.batch_no)
            parked.put(trial.letters)
            done = Done(trial.writes, trial.letters, parked)
            return parked

        parked = await self._moving(work.position, transaction, may_be_cut=len(work.batches) > 1)
        return done._replace(parked=parked)

    async def _carry_out(self, connection: Connection) -> Parked:
        place = self._place
        discarded = await dead_letters.discard(connection, place)
        kept = await dead_letters.to_be_retried(connection, place, most=self._retried)
        found = [(self._projection.event(one.type, one.raw, meta=one.meta, where=self._topic), one.key) for one in kept]
        trial = Trial(connection, self._new_rows, ())
        await trial.take([(event, key) for event, key in found if event is not None])
        still = {letter.event.meta.seq for letter in trial.letters}
        applied = [one.meta.seq for one in kept if one.meta.seq not in still]
        failed = [letter for letter in trial.letters if letter.problem is not None]
        await dead_letters.retried(connection, place, applied=applied, failed=failed)
        await notices.tell(connection, place, trial.writes, batch_no=self.saved.batch_no)
        self._wished = {"discarded": discarded, "applied": len(applied), "still_at_fault": len(failed)}
        return await dead_letters.load(connection, place)

    async def _moving(
        self, new: Position, body: Callable[[Connection], Awaitable[Parked]], *, may_be_cut: bool = False
    ) -> Parked:
        """What is parked after a transaction that moves the position and does this.

        Raises `PositionMoved`; and `TooSlow`, if it may be cut, in place of trying the same for ever.
        """
        attempts = 0

        async def transaction(connection: Connection) -> Parked:
            nonlocal attempts
            attempts += 1
            await positions.move(connection, self._place, old=self.saved, new=new)
            try:
                return await body(connection)
            except (pg.QueryCanceledError, pg.OutOfMemoryError) as error:  # or too many locks
                if may_be_cut and not is_cancelled():
                    raise TooSlow(f"{type(error).__name__}: {error}") from error
                raise

        try:
            return await self._database.run(transaction)
        except PositionMoved:
            # An earlier attempt of ours may have been committed, though the connection broke before we heard of it.
            if attempts < 2 or await self.read_position() != new:
                raise
            return await self._database.run(lambda connection: dead_letters.load(connection, self._place))

    async def read_position(self) -> Position:
        """As it is now."""
        return await self._database.run(lambda connection: positions.read(connection, self._place))

    def _know(self, parked: Parked) -> None:
        """Keep the same object while the same keys are parked: what was read ahead is still right then."""
        if parked is not self.parked:
            if parked.last_seqs.keys() == self.parked.last_seqs.keys():
                self.parked.last_seqs, self.parked.events = parked.last_seqs, parked.events
            else:
                self.parked = parked
        self._parked_gauges.show(self.parked)

    def _new_rows(self) -> RowChanges:
        return self._projection.new_rows(self._topic)
