"""A table that two partitions may write is refused when its app is made, and so is plain SQL that can't be repeated."""

from dataclasses import replace

import pytest

from bank.v1.events_pb2 import Deposited, TransferCompleted
from bennu.domain import (
    BIGINT,
    JSONB,
    MAX,
    MIN,
    SUM,
    TEXT,
    TIMESTAMP,
    Column,
    EventMeta,
    Projection,
    Rows,
    Table,
    projects,
)
from bennu.domain.ownership import owned_tables
from bennu.domain.plain_sql import parsed, written_by_sql
from bennu.domain.projection import ByTime
from bennu.errors import BadSettings
from bennu_qserver.dispatch import compile_projections
from tests.qserver.loops import LEDGER, bank_with

ACCOUNT, AMOUNT, CURRENCY = Column("account", TEXT), Column("amount", BIGINT), Column("currency", TEXT)
PARTITION, TRANSFER = Column("partition", BIGINT), Column("transfer", TEXT)
COLUMNS = (ACCOUNT, TRANSFER, CURRENCY, PARTITION, AMOUNT, Column("said", JSONB, nullable=True))
TABLE = Table("things", key=("account",), columns=COLUMNS)


def showing(table: Table, *statements: str) -> type[Projection]:
    """A projection of deposits, which are about accounts, and of transfers' ends."""

    class Things(Projection):
        @projects
        def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
            """Whatever it shows."""

        @projects
        def completed(self, event: TransferCompleted, rows: Rows, meta: EventMeta) -> None:
            """Whatever it shows."""

    Things.tables, Things.statements = (table,), statements
    return Things


def shared(*columns: Column, key: tuple[str, ...] = ("currency",)) -> Table:
    """Sums by currency."""
    return Table("things", key=key, columns=(CURRENCY, *columns), shared=True)


@pytest.mark.parametrize(
    ("table", "owner"),
    [
        (TABLE, "account"),
        (replace(TABLE, key=("currency", "transfer")), "transfer"),
        (replace(TABLE, key=("partition", "account")), "partition"),
        (replace(TABLE, key=("account", "transfer"), owner="transfer"), "transfer"),
        (replace(TABLE, key=("currency",), owner="currency"), "currency"),
        (shared(replace(AMOUNT, merge=SUM)), ""),
    ],
)
def test_the_owner_is_told_by_the_key(table: Table, owner: str) -> None:
    """The partition, else what events are about, else what the table says; a shared one has none."""
    app = bank_with(showing(table))
    (found,) = owned_tables(app.projections[0], app.events)
    assert found.owner == owner


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (
            replace(TABLE, key=("currency",)),
            r"its key \(currency\) tells neither which aggregate .*`account` of bank.v1",
        ),
        (replace(TABLE, key=("amount",)), "tells neither"),
        (
            replace(TABLE, key=("account", "transfer")),
            'say whose events write a row: owner="account" or owner="transfer"',
        ),
        (replace(TABLE, owner="currency"), r"owner='currency' must be a TEXT column of its key \(account\)"),
        (replace(TABLE, key=("account", "amount"), owner="amount"), "must be a TEXT column"),
        (replace(TABLE, columns=(ACCOUNT, replace(AMOUNT, merge=SUM))), "column `amount`: merge='sum' is for"),
        (replace(TABLE, shared=True, owner="account"), "it is shared, so it has no owner"),
        (shared(AMOUNT), "column `amount`: the table is shared, so say how"),
        (shared(replace(AMOUNT, merge="last")), "say how what partitions write is merged"),
        (shared(replace(AMOUNT, merge=SUM, nullable=True)), "a SUM is a BIGINT that is not nullable"),
        (shared(Column("last", TEXT, merge=SUM)), "a SUM is a BIGINT"),
        (shared(Column("last", TEXT, merge=MAX)), "a MAX is nullable"),
        (shared(Column("said", JSONB, nullable=True, merge=MIN)), "a MIN is nullable, .* no JSONB"),
        (shared(replace(AMOUNT, merge=SUM), key=("currency", "amount")), "neither computed nor of the key"),
    ],
)
def test_a_table_that_two_partitions_may_write_is_refused(table: Table, complaint: str) -> None:
    """The app is not made, and projection, table and key are named, with what to say."""
    with pytest.raises(BadSettings, match=f"Things: table `things`.*{complaint}"):
        bank_with(showing(table))


class OfTheTransfer(Projection):
    """A deposit is about an account, and there are two accounts to a transfer."""

    tables = (replace(TABLE, key=("transfer",)),)

    @projects
    def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
        if event.transfer:
            rows.upsert("things", {"transfer": event.transfer}, amount=event.amount_minor)

    @projects
    def completed(self, event: TransferCompleted, rows: Rows, meta: EventMeta) -> None:
        rows.update("things", {"transfer": event.transfer}, amount=0)


class OfAnyone(OfTheTransfer):
    """It looks for rows whose owner it does not say."""

    @projects
    def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
        rows.update_where("things", {"account": event.account}, amount=0)


class Choosy(OfTheTransfer):
    """It wants an account that nobody made up."""

    @projects
    def deposited(self, event: Deposited, rows: Rows, meta: EventMeta) -> None:
        raise OSError(event.account)


@pytest.mark.parametrize(
    ("projection", "complaint"),
    [
        (OfTheTransfer, "`transfer` is 'made-up transfer' belongs to that aggregate, .* about 'made-up account'"),
        (OfAnyone, "looks for rows by account, which may belong to others; say whose they are, by `transfer`"),
    ],
)
def test_a_rule_that_writes_rows_of_others_is_refused(projection: type[Projection], complaint: str) -> None:
    """Before QServer reads any event: the rule is tried with a made-up one."""
    with pytest.raises(BadSettings, match=f"the rule for bank.v1.Deposited, tried with.*table `things`: .*{complaint}"):
        compile_projections(bank_with(projection))


def test_a_rule_that_takes_no_made_up_event_is_not_judged() -> None:
    """Nothing is known of it then."""
    assert compile_projections(bank_with(Choosy))


def test_the_banks_tables_have_owners() -> None:
    """Accounts and transfers are aggregates', entries the partition's."""
    (ledger,) = LEDGER.projections
    owners = {table.name: table.owner for table in owned_tables(ledger, LEDGER.events)}
    assert owners == {"accounts": "account", "entries": "partition", "transfers": "transfer"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1 FROM {things}", "it must begin with UPDATE"),
        ("UPDATE things SET amount = 1", "it must begin with UPDATE"),
        ("WITH x AS (DELETE FROM {things}) SELECT 1", "it must begin with"),
        ("UPDATE {others} SET amount = 1", "`others` is no table of this projection, which has things"),
        ("UPDATE {things.x} SET amount = 1", "`{things.x}` is no table"),
        ("DELETE FROM {things}; DELETE FROM {things}", "`;`: it is one statement"),
        ("DELETE FROM {things} WHERE amount = $2", r"its values are \$2; count from \$1 on"),
        ("UPDATE {things} SET said = now()", r"`now\(`: it may be something else when tables are rebuilt"),
        ("UPDATE {things} SET amount = RANDOM ( )", "it may be something else"),
        ("DELETE FROM {things} WHERE x < current_date", "`current_date`: it may be"),
        ("DELETE FROM {things} WHERE account = 'now()' RETURNING *", "`RETURNING`: nobody hears"),
        ("DELETE FROM {things} WHERE account = 'a", "`'`: it does not end"),
        ("DELETE FROM {things} -- all", "comments stand beside"),
        ("DELETE FROM {things} WHERE account = $$x$$", "a text stands between single quotes"),
        ("DELETE FROM {things} WHERE account = E'\\''", "is bound as a value"),
    ],
)
def test_plain_sql_that_can_not_be_repeated_is_refused(text: str, complaint: str) -> None:
    """The app is not made, and the statement is named."""
    with pytest.raises(BadSettings, match=f"Things: statement `.*{complaint}"):
        bank_with(showing(TABLE, text))


def test_plain_sql_leaves_shared_tables_alone() -> None:
    """What stands in them at a moment depends on how far other partitions are."""
    with pytest.raises(BadSettings, match="`things` is shared"):
        bank_with(showing(shared(replace(AMOUNT, merge=SUM)), "DELETE FROM {things}"))


def test_tables_get_the_names_of_a_generation() -> None:
    """Only outside texts and quoted names; each goes by its own name, or by one that it is given."""
    text = """UPDATE {things} SET said = '{"things": "it''s {things}"}' FROM {things others} WHERE things."{x}" = $1"""
    plain = parsed(text, {"things": TABLE}, "here")
    assert plain.sql(lambda name: f"bank.{name}_g2") == (
        """UPDATE bank.things_g2 AS "things" SET said = '{"things": "it''s {things}"}' """
        """FROM bank.things_g2 AS "others" WHERE things."{x}" = $1"""
    )
    assert (plain.target, plain.called, plain.values) == ("things", "things", 1)


def test_tables_that_plain_sql_changes_are_known() -> None:
    """Nobody but Postgres can say what is in them."""
    app = bank_with(showing(TABLE, "DELETE FROM {things}"))
    assert written_by_sql(app.projections[0]) == {"things"}
    assert written_by_sql(LEDGER.projections[0]) == frozenset()


def test_plain_sql_leaves_tables_by_time_alone() -> None:
    """Their pieces come and go, and a statement would not make the one that its rows need."""
    at = Column("at", TIMESTAMP)
    by_time = replace(TABLE, key=("account", "at"), columns=(*TABLE.columns, at), by_time=ByTime("at"))
    with pytest.raises(BadSettings, match="`things` is kept by time"):
        bank_with(showing(by_time, "DELETE FROM {things} WHERE account = $1"))
