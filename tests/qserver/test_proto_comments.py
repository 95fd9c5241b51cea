"""Comments that a declaration leaves to the protos; and how changed ones come to be seen."""

import asyncio
from pathlib import Path

import pytest

from bank.projections import TRANSFERS, Ledger
from bank.v1.events_pb2 import Deposited, TransferFailed, TransferRequested, TransferScreened, WithdrawalReversed
from bank.v1.queries_pb2 import GetStatement, StatementView, TransferView
from bennu.domain import BIGINT, TEXT, Column, Table
from bennu.errors import BadSettings
from bennu.log.memory import MemoryBroker, MemoryLog
from bennu_qserver.dispatch import compile_projections
from bennu_qserver.proto_comments import commented
from tests.builds.messages import Filled1
from tests.qserver.loops import LEDGER, bank_with, looping
from tests.qserver.serving import connected
from travel.v1.travel_pb2 import TripFailed

FEE, REASON, TRANSFER = Column("fee_minor", BIGINT), Column("reason", TEXT), Column("transfer", TEXT)
WHY = "The rejection of the step that failed, such as `insufficient_funds`."
BELONGS = "The transfer it belongs to; empty for cash."


def said_of(column: Column, *events: type, **table: type) -> str:
    """The comment of one column, in a table with a key."""
    columns = (Column("id", TEXT, comment="own"), column)
    (made,) = commented([Table("t", columns, key=("id",), **table)], events)  # type: ignore[arg-type]  # messages
    assert made.columns[0].comment == "own"
    return made.columns[1].comment


def test_a_column_is_explained_by_the_field_of_its_name() -> None:
    """In the events that have rules: those that say something must say the same."""
    assert said_of(REASON, TransferFailed, TransferRequested) == WHY
    assert said_of(TRANSFER, Deposited, WithdrawalReversed) == BELONGS
    assert said_of(TRANSFER, WithdrawalReversed) == ""
    assert said_of(REASON, TransferFailed, TripFailed) == ""
    assert said_of(Column("amount", BIGINT), Deposited) == ""
    assert said_of(Column("reason", TEXT, comment="mine"), TransferFailed) == "mine"


def test_what_a_row_is_said_to_be_comes_first() -> None:
    """The answer to a query, say; events are asked where it has nothing of that name."""
    assert said_of(FEE, TransferRequested, of=TransferView) == (
        "What it costs beside the amount; one that failed has it back."
    )
    assert said_of(TRANSFER, Deposited, of=TransferView) == BELONGS
    assert said_of(Column("fees_minor", BIGINT), of=StatementView) == "Of what was debited, the fees."


def test_a_table_is_explained_by_its_message() -> None:
    """If it says nothing itself."""
    columns = (Column("account", TEXT),)
    whole = "Turnover since the account was opened; its lines are in the table `bank.entries`."
    for table, comment in (
        (Table("t", columns, key=("account",), of=GetStatement), whole),
        (Table("t", columns, key=("account",), of=GetStatement, comment="mine"), "mine"),
        (Table("t", columns, key=("account",)), ""),
        (Table("t", columns, key=("account",), of=Filled1), ""),  # whose package has no such file
    ):
        assert commented([table], [TransferScreened])[0].comment == comment


def test_the_bank_leaves_some_to_its_protos() -> None:
    """All its columns are explained."""
    (ledger,) = compile_projections(LEDGER)
    assert all(column.comment for table in ledger.tables for column in table.columns)
    assert not all(column.comment for table in Ledger.tables for column in table.columns)


def test_a_file_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have been cut off."""
    (tmp_path / "spoilt").mkdir()
    (tmp_path / "spoilt" / "protos.binpb").write_bytes(b"\xff")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(Deposited, "__module__", "spoilt.events_pb2")
    with pytest.raises(BadSettings, match=r"spoilt/protos.binpb: it is no descriptor set"):
        said_of(TRANSFER, Deposited)


async def seen_after_a_start(dsn: str) -> None:
    """A build with other comments, over the view of the first; then one that may not."""
    log = MemoryLog(MemoryBroker())
    await log.create("bank-events-0")
    told = "SELECT col_description('bank.transfers'::regclass, 10), obj_description('bank.transfers'::regclass)"
    async with connected(dsn) as connection:
        async with looping(log, dsn):
            assert tuple(await connection.fetchrow(told) or ()) == (WHY, TRANSFERS.comment)
        columns = (
            *TRANSFERS.columns[:7],
            Column("reason", TEXT, nullable=True, comment="other"),
            *TRANSFERS.columns[8:],
        )
        others = Table("transfers", columns, key=("transfer",), indexes=TRANSFERS.indexes, comment="whole")
        other = type("Other", (Ledger,), {"tables": (*Ledger.tables[:2], others)})
        async with looping(log, dsn, app=bank_with(other)):
            assert tuple(await connection.fetchrow(told) or ()) == ("other", "whole")


@pytest.mark.real
def test_a_changed_comment_is_seen_after_the_next_start(database: str) -> None:
    """In the view that people read: no rebuild is asked for."""
    asyncio.run(seen_after_a_start(database))
