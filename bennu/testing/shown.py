"""Messages as a test compares and prints them."""

from collections.abc import Iterable

import msgspec
from google.protobuf.message import Message

from bennu.domain.aggregate import Rejection, State


def plain(value: object) -> object:
    """For comparing: messages by type and bytes, so that nothing counts as equal that the journal would tell apart."""
    if isinstance(value, Message):
        return value.DESCRIPTOR.full_name, value.SerializeToString(deterministic=True)
    if isinstance(value, Rejection):
        return value
    return [plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def shown(value: object) -> str:
    """For people: messages as they are written in Python."""
    if isinstance(value, Message):
        fields = ", ".join(f"{field.name}={content!r}" for field, content in value.ListFields())
        return f"{value.DESCRIPTOR.name}({fields})"
    if isinstance(value, Rejection):
        return f"rejected as {value.reason} ({value.message})"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(shown(part) for part in value)}]"
    return repr(value)


def fields_of(state: State, wanted: Iterable[str]) -> dict[str, object]:
    """These fields of a state.  Raises `AssertionError` for one that it does not have."""
    known = [field.name for field in msgspec.structs.fields(state)]
    strange = [name for name in wanted if name not in known]
    assert not strange, f"{type(state).__qualname__} has no field `{strange[0]}`; it has {', '.join(known) or 'none'}"
    return {name: getattr(state, name) for name in wanted}
