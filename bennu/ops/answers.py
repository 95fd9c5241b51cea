"""What gRPC callers are told: replies as codes and bytes, errors as `google.rpc.Status` with its details.

Requests reach services as bytes, so that what can't be parsed is answered with INVALID_ARGUMENT, and not by the
transport.
"""

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

Context = grpc.aio.ServicerContext[bytes, bytes]
Reply = tuple[int, bytes]
"""gRPC code and bytes: the reply message if the code is OK, else a google.rpc.Status."""
Trailing = tuple[tuple[str, str | bytes], ...]
"""Metadata that comes with an answer; what is empty, or no ASCII and not binary, is left out."""

OK = 0
CODES = {code.value[0]: code for code in StatusCode}
STATUS_DETAILS = "grpc-status-details-bin"


def code_of(code: StatusCode) -> int:
    """The number of a gRPC status code."""
    number: int = code.value[0]
    return number


def status(code: StatusCode, reason: str, message: str, *, field: str = "", retry_ms: int = 0) -> Reply:
    """A google.rpc.Status with ErrorInfo, and BadRequest or RetryInfo where they apply."""
    details = [_packed(error_details_pb2.ErrorInfo(reason=reason, domain="bennu"))]
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    if retry_ms:
        delay = Duration()
        delay.FromMilliseconds(retry_ms)
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    found = status_pb2.Status(code=code_of(code), message=message, details=details)
    return found.code, found.SerializeToString()


def _packed(detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


async def end(context: Context, reply: Reply, trailing: Trailing = ()) -> bytes:
    """Answer with a message, or with an error and its details."""
    code, content = reply
    metadata = [(name, value) for name, value in trailing if value and (isinstance(value, bytes) or value.isascii())]
    if code == OK:
        context.set_trailing_metadata(tuple(metadata))
        return content
    context.set_code(CODES[code])
    context.set_details(status_pb2.Status.FromString(content).message)
    context.set_trailing_metadata((*metadata, (STATUS_DETAILS, content)))
    return b""
