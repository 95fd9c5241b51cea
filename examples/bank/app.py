"""The bank, assembled: `--app bank.app:app`."""

from bank.account import AccountRules
from bank.projections import Ledger
from bank.scenarios import TRANSFER
from bank.transfer import TransferRules, TransferSaga
from bank.v1 import bank_pb2
from bank.v1.commands_pb2 import OpenAccount
from bennu.domain import App

app = App(
    "bank",
    service=bank_pb2.DESCRIPTOR.services_by_name["Bank"],
    aggregates=(AccountRules, TransferRules),
    sagas=(TransferSaga,),
    projections=(Ledger,),
    callers=("travel",),
    scenarios=(TRANSFER,),
    example=OpenAccount(account="alice", owner="Alice", currency="EUR"),
)
