"""What rules of the explored apps raise."""

from bennu.ops.failures import place_of
from bennu.replica.decision import RuleBroken
from bennu_saga.definitions import RuleFailed

OWN_WORDS = (RuleBroken, RuleFailed)
"""Said by Bennu of what a rule gave."""


class Raised:
    """Hears of them, see `bennu.replica.fold.Failed`.  A text names the rule's message or saga, the error, its line."""

    def __init__(self) -> None:
        self._heard: dict[str, None] = {}

    def __call__(self, what: str, _key: str, error: Exception) -> None:
        self._heard[f"a rule for {what} failed: {said(error)}"] = None

    def take(self) -> tuple[str, ...]:
        """What was raised since the last call."""
        heard = tuple(self._heard)
        self._heard.clear()
        return heard


def said(error: Exception) -> str:
    """An error and where it was raised."""
    text = str(error) if isinstance(error, OWN_WORDS) else f"{type(error).__name__}: {error}".removesuffix(": ")
    place = place_of(error)
    return f"{text} ({place})" if place else text
