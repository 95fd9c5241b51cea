"""The demonstration's report, for a person."""

from rich.console import Console
from rich.table import Table

from bank import scenario
from bank.demo_run import Result

WIDTH = 110
HIDDEN = {
    "accounts": ("opened_at", "updated_at"),
    "entries": ("partition", "line", "recorded_at"),
    "transfers": ("requested_at", "ended_at"),
}
"""Columns that would only widen the sample."""


def show(result: Result) -> None:
    """Print the tables' first rows, then what was counted."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    for name, rows in result.shown.items():
        console.print(_rows(name, rows))
    console.print(_numbers(result))
    for problem in result.problems:
        console.print(f"WRONG: {problem}", markup=False)


def _rows(name: str, rows: list[dict[str, object]]) -> Table:
    table = Table(title=f"bank.{name}, the first {len(rows)} rows", title_justify="left")
    columns = [column for column in (rows[0] if rows else {}) if column not in HIDDEN[name]]
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if row[column] is None else str(row[column]) for column in columns))
    return table


def _numbers(result: Result) -> Table:
    table = Table(title="What was counted", title_justify="left", show_header=False)
    table.add_column(justify="left")
    table.add_column(justify="right")
    reasons = ", ".join(f"{count} {reason}" for reason, count in result.reasons.most_common())
    rate = result.commands / result.commands_seconds if result.commands_seconds else 0.0
    for name, value in (
        ("commands answered, each durable first", f"{result.commands:,}"),
        ("commands a second, one call each", f"{rate:,.0f}"),
        ("first reply, seconds after start", f"{result.seconds_to_first_reply:.1f}"),
        ("transfers completed", f"{result.transfers_completed:,}"),
        ("of these large: charged a fee, payee screened", f"{result.transfers_with_fee:,}"),
        ("transfers compensated: withdrawn, refused, paid back", f"{result.transfers_compensated:,}"),
        ("transfers refused before money moved", f"{result.transfers_refused:,}"),
        ("why transfers failed", reasons or "none did"),
        ("every transfer ended, seconds after the last answer", f"{result.settled_seconds:.1f}"),
        ("fees of these large ones", money(result.fees_due)),
        ("paid in", money(result.money_before)),
        ("money in memory", money(result.money_after)),
        ("money in the journal", money(result.money_in_journal)),
        ("money in Postgres", money(result.money_in_postgres)),
        ("tables equal the recomputation, row by row", "yes" if result.tables_match else "NO"),
    ):
        table.add_row(name, value)
    return table


def money(minor: int) -> str:
    """Minor units as people write them."""
    return f"{minor // 100:,}.{minor % 100:02} {scenario.CURRENCY}"
