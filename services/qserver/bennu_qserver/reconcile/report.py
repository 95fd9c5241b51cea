"""What `bennu reconcile` prints: each difference as it is found, and at the end what was compared, and what was not."""

import json
from collections import Counter

import typer

from bennu_qserver.reconcile.differences import Difference
from bennu_qserver.reconcile.memory import MemoryTable
from bennu_qserver.reconcile.tables import Table

MEMORY = "memory of CServer"


class Report:
    """For people, or one JSON object a line for programs."""

    def __init__(self, app: str, *, as_json: bool, limit: int) -> None:
        self._app = app
        self._as_json = as_json
        self._limit = limit
        self._found: Counter[str] = Counter()
        """Differences, by projection; those of memory by themselves."""
        self._not_compared: list[str] = []
        self._tables: list[Table] = []
        self._tables_left_out: list[str] = []
        self._memories: list[MemoryTable] = []

    @property
    def is_whole(self) -> bool:
        """Whether all tables could be compared that were read."""
        return not self._tables_left_out

    # --- as it is found

    @property
    def differences(self) -> int:
        """How many were found, also where not all could be compared."""
        return self._found.total()

    def difference(self, projection: str, difference: Difference) -> None:
        """See `tables.Shows`."""
        self._found[projection] += 1
        self._line({"difference": difference.plain | {"projection": projection}}, f"{projection}: {difference.what}")

    def aggregate(self, what: str, plain: dict[str, object]) -> None:
        """One that CServer has otherwise in memory than the journal says."""
        self._found[MEMORY] += 1
        self._line({"difference": plain | {"what": what}}, f"memory: {what}")

    def again(self, projection: str, why: str) -> None:
        """See `tables.Shows`."""
        del self._found[projection]
        if self._as_json:
            typer.echo(json.dumps({"again": {"projection": projection, "why": why}}))
        else:
            typer.echo(f"{projection}: begun anew, and what was said of it is void: {why}")

    def _line(self, plain: dict[str, object], words: str) -> None:
        if not self._limit or self.differences <= self._limit:
            typer.echo(json.dumps(plain, default=str) if self._as_json else words)

    # --- at the end

    def table(self, table: Table) -> None:
        """See `tables.Shows`."""
        self._tables.append(table)
        self._tables_left_out += table.not_compared

    def memory(self, found: MemoryTable) -> None:
        """So was this partition's memory."""
        self._memories.append(found)

    def left_out(self, what: str) -> None:
        """This was not compared, which nobody asked for."""
        self._not_compared.append(what)

    def end(self, problem: str = "") -> None:
        """Print the end.  `problem`: why the rest could not be compared."""
        plain = {
            "app": self._app,
            "equal": not self.differences and not problem and self.is_whole,
            "rows": sum(table.rows for table in self._tables),
            "aggregates": sum(one.aggregates for one in self._memories),
            "differences": self.differences,
            "projections": [table._asdict() for table in self._tables],
            "memory": [one._asdict() for one in self._memories],
            "not_compared": self._tables_left_out + self._not_compared,
            "problem": problem or None,
        }
        if self._as_json:
            typer.echo(json.dumps(plain))
        else:
            self._words()

    def _words(self) -> None:
        if self._limit and self.differences > self._limit:
            typer.echo(f"… and {self.differences - self._limit} more: --limit 0 prints all")
        for table in self._tables:
            parked = f"; {table.parked} events are parked, and left out" if table.parked else ""
            said = f"{table.differences} differences" if table.differences else "all as the journal says"
            typer.echo(
                f"{table.projection}, generation {table.generation}: {table.rows} rows, {said}, "
                f"up to {', '.join(table.positions)}{parked}"
            )
        for one in self._memories:
            said = f"{one.differences} differences" if one.differences else "all as the journal says"
            typer.echo(
                f"memory of partition {one.partition}: {one.aggregates} aggregates, {said}, up to {one.position}"
            )
        for what in self._tables_left_out + self._not_compared:
            typer.echo(f"not compared: {what}")
