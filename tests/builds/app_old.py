"""The older build: `--app tests.builds.app_old:app`.  It writes `Filled1`, and knows of nothing later."""

from bennu.domain import Accepted, Aggregate, App, State, answers, decides, evolves
from tests.builds.messages import BOXES, BoxView, Fill, Filled1, GetBox


class Box(State):
    """Content in grams."""

    content: int = 0


class BoxRules(Aggregate[Box]):
    """A box can be filled."""

    @decides
    def fill(self, state: Box, command: Fill) -> Accepted:
        view = BoxView(box=command.box, content=state.content + command.amount)
        return Accepted([Filled1(box=command.box, amount=command.amount)], view)

    @evolves
    def filled(self, state: Box, event: Filled1) -> None:
        state.content += event.amount

    @answers
    def get(self, state: Box, query: GetBox) -> BoxView:
        return BoxView(box=query.box, content=state.content)


app = App("builds", service=BOXES, aggregates=(BoxRules,))
