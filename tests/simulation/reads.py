"""What queries may have seen, recomputed from the journal by the bank's rules and nothing else."""

from bisect import bisect_right
from collections import defaultdict
from typing import NamedTuple

from bank.account import Account
from bank.app import app
from bank.v1.queries_pb2 import StatementView
from tests.simulation.said import Key, Read
from tests.simulation.truth import Entry, Truth, require

NEVER_OPENED = b""


class View(NamedTuple):
    """An account's statement after one of its commands, and the batch that holds it."""

    batch_no: int
    statement: bytes
    key: Key | None


class Views:
    """The statements of a partition's accounts, one after another."""

    def __init__(self, truth: Truth) -> None:
        self._offsets = [effective.offset for effective in truth.batches]
        self._views: defaultdict[str, list[View]] = defaultdict(lambda: [View(0, NEVER_OPENED, None)])
        states: defaultdict[str, Account] = defaultdict(Account)
        for number, effective in enumerate(truth.batches, 1):
            for entry in effective.entries:
                self._take(entry, number, states)

    def _take(self, entry: Entry, number: int, states: defaultdict[str, Account]) -> None:
        for name, raw in entry.events:
            rule = app.events[name]
            event = rule.message.FromString(raw)
            account = rule.key(event)
            if rule.aggregate == 0:
                rule.evolve(states[account], event)
                view = View(number, statement(account, states[account]), Key(entry.command_id, entry.digest))
                self._views[account].append(view)

    def judge(self, read: Read) -> None:
        """Durable when it was told, at or before the position named, not before what was asked for or told earlier."""
        wish, what = read.wish, f"a query for {read.wish.account}, answered at batch {read.batch_no},"
        durable = read.batch_no <= len(self._offsets) and (
            read.batch_no == 0 or self._offsets[read.batch_no - 1] < read.journal_end
        )
        require(durable, "I12", f"{what} was answered before that was effective")
        least = max(wish.batch_no, read.told_before)
        require(read.batch_no >= least, "I10", f"{what} should have seen batch {least}")
        views = self._views[wish.account]
        first, last = self._at(views, read.batch_no if read.followed else least), self._at(views, read.batch_no)
        seen = [i for i in range(first, last + 1) if views[i].statement == read.view]
        require(bool(seen), "I12", f"{what} saw a state that is not between batches {least} and {read.batch_no}")
        if wish.linearizable:
            missed = (wish.acknowledged & {view.key for view in views}) - {view.key for view in views[: seen[-1] + 1]}
            require(not missed, "I10", f"{what} and linearizable, missed {sorted(missed)[:1]}")

    @staticmethod
    def _at(views: list[View], batch_no: int) -> int:
        return bisect_right(views, batch_no, key=lambda view: view.batch_no) - 1


def statement(account: str, state: Account) -> bytes:
    """As the query answers it."""
    view = StatementView(account=account)
    for field in ("currency", "balance_minor", "movements", "credited_minor", "debited_minor"):
        setattr(view, field, getattr(state, field))
    return view.SerializeToString()
