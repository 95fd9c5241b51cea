"""A build whose box `clock` is evolved by the time of day: `--app tests.builds.app_impure:app`."""

import time

from bennu.domain import App, evolves
from tests.builds import app_old
from tests.builds.messages import BOXES, Filled1


class BoxRules(app_old.BoxRules):
    """As the older build's, but for one box."""

    @evolves
    def filled(self, state: app_old.Box, event: Filled1) -> None:
        super().filled(state, event)
        if event.box == "clock":
            state.content = time.time_ns()


app = App("builds", service=BOXES, aggregates=(BoxRules,))
