"""A state with a field that has no default."""

from bennu.domain import State


class Half(State):
    """Not one that can be made."""

    first: int = 0
    second: int  # type: ignore[misc]  # that is the mistake
