"""The bank, assembled: `--app bank.app:app`."""

from bank import older, transfer, transfer_v2
from bank.account import AccountRules
from bank.projections import Ledger
from bank.scenarios import BLOCKED, LARGE, POOR, TRANSFER
from bank.screening import ScreeningRules
from bank.v1 import bank_pb2
from bank.v1.commands_pb2 import OpenAccount
from bennu.domain import App

app = App(
    "bank",
    service=bank_pb2.DESCRIPTOR.services_by_name["Bank"],
    aggregates=(AccountRules, transfer.TransferRules, ScreeningRules),
    sagas=(transfer.TransferSaga, transfer_v2.TransferSaga),
    projections=(Ledger,),
    callers=("travel",),
    scenarios=(TRANSFER, LARGE, BLOCKED, POOR),
    state_upcasters=(older.account, older.transfer),
    example=OpenAccount(account="alice", owner="Alice", currency="EUR"),
)
