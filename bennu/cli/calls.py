"""Asking a running CServer: its address, and what its refusals become on the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from bennu.errors import BennuError, Unavailable

if TYPE_CHECKING:
    import grpc
    from google.rpc.status_pb2 import Status

TIMEOUT_S = 30.0

Address = Annotated[str, typer.Option("--grpc", envvar="BENNU_GRPC", help="Where a CServer of the app is reached.")]
HERE = "127.0.0.1:50051"


class Refused(BennuError):
    """The service answered, and will not do it."""


@contextmanager
def channel_to(address: str) -> "Iterator[grpc.Channel]":
    """For calls; what they end with is told as errors of the command line.  Raises `Unavailable`, `Refused`."""
    import grpc

    with grpc.insecure_channel(address) as channel, telling(address):
        yield channel


@contextmanager
def telling(address: str) -> "Iterator[None]":
    """What calls to this address end with is told as errors of the command line.  Raises `Unavailable`, `Refused`."""
    import grpc

    try:
        yield
    except grpc.RpcError as error:
        code = error.code()
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise Unavailable(f"{address}: {code.name}: {error.details()}") from error
        from grpc_status import rpc_status

        found = rpc_status.from_call(error)  # type: ignore[arg-type]  # what grpc raises is a call as well
        raise Refused(said(found) if found else f"{code.name}: {error.details()}") from error


def said(status: "Status") -> str:
    """A refusal in words: reason, message, and the field at fault where one is named."""
    from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

    info, bad = ErrorInfo(), BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    fields = ", ".join(violation.field for violation in bad.field_violations)
    return f"{info.reason or status.code}: {status.message}" + (f" (field {fields})" if fields else "")
