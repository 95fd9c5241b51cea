"""Rules of a domain that raise: where they did, and how a service says it without saying it for each command."""

import traceback
from pathlib import Path
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from bennu.ops.metrics import Metrics

logger = structlog.get_logger()

BENNU = frozenset({"bennu", "bennu_cserver", "bennu_saga"})
"""Packages whose frames say nothing of where a rule went wrong."""
RULE_RAISED = "a rule of the app raised; more of the same are counted in bennu_failed_rules, and not said"
MAX_SAID = 100
"""Kinds of failures that one process logs."""
MAX_TEXT_CHARS = 8_000
"""Of a traceback in a log line; what is longer loses its middle."""


class Place(NamedTuple):
    """A line of code outside Bennu."""

    file: str
    """As the interpreter knows it, but from the working directory on where it is below that."""
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}, in {self.function}"


def place_of(error: BaseException) -> Place | None:
    """The innermost line outside Bennu that an error came through; None: it was Bennu that did not like a result."""
    found: Place | None = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in BENNU:
            file = Path(frame.f_code.co_filename)
            shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
            found = Place(str(shown), line, frame.f_code.co_name)
    return found


class RuleFailures:
    """Logs the first failure of each kind with its traceback, and counts them all.

    A kind is what the rule was for, the type of the exception and the line that raised it: so a rule that always raises
    is said once, however many commands come.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._counter: Counter = metrics.counter("bennu_failed_rules", "Rules of the domain that raised.")
        self._said: set[tuple[str, str, Place | None]] = set()

    def __call__(self, what: str, key: str, error: Exception) -> None:
        """Tell of what the rule for a command, a query or a saga raised.  See `bennu.replica.fold.Failed`."""
        self._counter.inc()
        kind = (what, type(error).__name__, place_of(error))
        if kind in self._said or len(self._said) >= MAX_SAID:
            return
        self._said.add(kind)
        logger.warning(  # clients can cause it, by commands that the rule does not bear
            RULE_RAISED,
            rule_for=what,
            key=key,
            exception=_printable("".join(traceback.format_exception(error))),
        )


def _printable(text: str) -> str:
    half = MAX_TEXT_CHARS // 2
    cut = text if len(text) <= MAX_TEXT_CHARS else f"{text[:half]} … {text[-half:]}"
    return cut.encode(errors="backslashreplace").decode()
