"""Commands of several types: those of one type together, and what became of each where it stands."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from bennu_cserver.submission import Columns

T = TypeVar("T")


def by_type(
    types: Sequence[str], indexes: Sequence[int], *, columns: Columns, prepare: Callable[[str, Columns], Sequence[T]]
) -> Sequence[T]:
    """`indexes`: for each command, which of `types` it is; `prepare` is called once for each type that is there."""
    first, *others = dict.fromkeys(indexes)
    if not others:
        return prepare(types[first], columns)
    found: dict[int, T] = {}
    for type_index in (first, *others):
        places = [place for place, index in enumerate(indexes) if index == type_index]
        found.update(zip(places, prepare(types[type_index], columns.at(places)), strict=True))
    return [found[place] for place in range(len(indexes))]
