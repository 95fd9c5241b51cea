"""What `bennu reconcile` says, asked from inside the test."""

from collections.abc import Sequence

from bennu.domain import App
from bennu.log.port import Log
from bennu_qserver.reconcile.differences import Difference
from bennu_qserver.reconcile.session import session
from bennu_qserver.reconcile.tables import Request, Table, compare_all


class Said:
    """All of it."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.tables: list[Table] = []
        self.begun_again: list[str] = []

    def difference(self, _projection: str, difference: Difference) -> None:
        """See `tables.Shows`."""
        self.differences.append(difference)

    def table(self, table: Table) -> None:
        """See `tables.Shows`."""
        self.tables.append(table)

    def again(self, _projection: str, why: str) -> None:
        """See `tables.Shows`."""
        self.begun_again.append(why)
        self.differences.clear()

    @property
    def words(self) -> list[str]:
        """The differences in words."""
        return [difference.what for difference in self.differences]


async def reconciled(log: Log, dsn: str, app: App, *, rows_at_once: int = 1_000_000, names: Sequence[str] = ()) -> Said:
    """Of all tables."""
    said = Said()
    async with session(dsn) as postgres:
        await compare_all(postgres, log, Request(app, names, None, 0, rows_at_once), shows=said)
    return said
