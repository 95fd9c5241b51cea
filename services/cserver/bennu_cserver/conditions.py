"""What an operator searches for, as a test of a state: fields compared with values, all of which must hold."""

import operator
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from bennu.domain.aggregate import State
from bennu.v1 import inspection_pb2 as pb
from bennu_cserver.intake import invalid

Holds = Callable[[State], bool]
Compare = Callable[[Any, Any], bool]  # of one type, as `_test` has seen to

COMPARISONS: dict[int, Compare] = {
    pb.COMPARISON_EQUAL: operator.eq,
    pb.COMPARISON_NOT_EQUAL: operator.ne,
    pb.COMPARISON_LESS: operator.lt,
    pb.COMPARISON_LESS_OR_EQUAL: operator.le,
    pb.COMPARISON_GREATER: operator.gt,
    pb.COMPARISON_GREATER_OR_EQUAL: operator.ge,
    pb.COMPARISON_CONTAINS: operator.contains,
}
EQUALITY = (pb.COMPARISON_EQUAL, pb.COMPARISON_NOT_EQUAL)
ORDERED = (int, float, str)


def conjunction(conditions: Iterable[pb.Condition], kind: type[State]) -> Holds:
    """The test that all of them make.  Raises `Refused`, naming the condition's field that is at fault."""
    tests = [_test(condition, kind, f"conditions[{number}]") for number, condition in enumerate(conditions)]
    return lambda state: all(test(state) for test in tests)


def _test(condition: pb.Condition, kind: type[State], where: str) -> Holds:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    field, compare = condition.field, COMPARISONS.get(condition.comparison)
    if field not in fields:
        raise invalid(f"{kind.__name__} has no field {field!r}; it has {', '.join(fields)}", f"{where}.field")
    if compare is None:
        raise invalid("say how to compare", f"{where}.comparison")
    own = fields[field]
    if condition.comparison == pb.COMPARISON_CONTAINS and own is not str:
        raise invalid(f"only a text contains another, and {field} is none", f"{where}.comparison")
    if condition.comparison not in EQUALITY and own not in ORDERED:
        raise invalid(f"{field} has no order: it is equal to a value, or not", f"{where}.comparison")
    try:
        value: object = msgspec.json.decode(condition.value_json, type=own)
    except msgspec.MsgspecError as error:
        raise invalid(f"not a value of {field}: {error}", f"{where}.value_json") from error
    return lambda state: compare(getattr(state, field), value)
