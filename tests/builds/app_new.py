"""The newer build: `--app tests.builds.app_new:app`.  It writes `Filled3`, and reads the older types by two steps."""

from bennu.domain import Accepted, Aggregate, App, State, answers, decides, evolves, upcasts
from tests.builds.messages import BOXES, BoxView, Fill, Filled1, Filled2, Filled3, GetBox


class Box(State):
    """Content in grams, and how often it was filled: a field that the older build does not have."""

    content: int = 0
    fills: int = 0


class BoxRules(Aggregate[Box]):
    """A box can be filled."""

    @decides
    def fill(self, state: Box, command: Fill) -> Accepted:
        view = BoxView(box=command.box, content=state.content + command.amount)
        return Accepted([Filled3(box=command.box, grams=command.amount)], view)

    @evolves
    def filled(self, state: Box, event: Filled3) -> None:
        state.content += event.grams
        state.fills += 1

    @answers
    def get(self, state: Box, query: GetBox) -> BoxView:
        return BoxView(box=query.box, content=state.content)


@upcasts
def first(old: Filled1) -> Filled2:
    """Amounts had no unit: it was grams."""
    return Filled2(box=old.box, amount=old.amount, unit="g")


@upcasts
def second(old: Filled2) -> Filled3:
    """For a while an amount had a unit: grams or kilograms."""
    return Filled3(box=old.box, grams=old.amount * (1000 if old.unit == "kg" else 1))


app = App("builds", service=BOXES, aggregates=(BoxRules,), upcasters=(first, second))
