"""For those who read the tables: a user who has written something reads it.

answer = await call(...)                                   # gRPC; its trailing metadata say `bennu-position`
await wait_for(connection, token, projection="ledger")
rows = await connection.fetch("SELECT ... FROM bank.accounts ...")
"""

from typing import Any, Protocol

from bennu.errors import Unavailable

WAIT_FOR = "SELECT bennu.wait_for($1, $2, $3)"
MAX_TIMEOUT_S = 60.0
"""The same limit is in the function."""
ANSWER_S = 5.0
"""How much longer than `timeout_s` Postgres may take to answer."""


class Connection(Protocol):
    """What is used of asyncpg's connections and pools."""

    async def fetchval(self, query: str, *args: Any, timeout: float) -> Any:  # noqa: ANN401, ASYNC109 - asyncpg's own
        """The first value of the first row."""


async def wait_for(
    connection: Connection, token: str, *, projection: str | None = None, timeout_s: float = 5.0
) -> None:
    """Return once the write that `token` (`bennu-position` of its answer) names is in the tables.

    In those of `projection`, or of all projections that read its journal.  Not inside a transaction that is
    REPEATABLE READ or SERIALIZABLE.  Raises `Unavailable` after `timeout_s`, and what asyncpg raises: among it
    `InvalidParameterValueError` for a token or projection that is none, `ActiveSQLTransactionError`.
    """
    timeout_ms = round(min(timeout_s, MAX_TIMEOUT_S) * 1000)
    if not await connection.fetchval(WAIT_FOR, token, projection, timeout_ms, timeout=timeout_s + ANSWER_S):
        where = f"projection {projection}" if projection else "the projections of its journal"
        raise Unavailable(f"{token} is not in the tables of {where} after {timeout_s:g} s; see bennu.freshness")
