"""The ceiling of unary calls: a bare `grpc.aio` server that takes a deposit's bytes and answers with a reply's.

python -m benchmarks.contest.echo
"""

from typing import Any

import grpc
import uvloop

from bank.v1.events_pb2 import Deposited
from benchmarks.contest.answering import serve
from bennu.ops.interpreter import settle

REPLY = Deposited(account="acc-00000", amount_minor=5, currency="EUR", balance_minor=10_000).SerializeToString()


async def _answer(_request: bytes, _context: Any) -> bytes:
    return REPLY


async def main() -> None:
    """Serve `bank.v1.Bank/Deposit`, as CServer does, so that callers use the same stub."""
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_answer)
    await serve(grpc.method_handlers_generic_handler("bank.v1.Bank", {"Deposit": handler}))


if __name__ == "__main__":
    settle()
    uvloop.run(main())
