"""Commands in line for one partition: bounded, and fair between clients.

*Whose turn it is:* deficit round robin (Shreedhar and Varghese, "Efficient fair queueing using deficit round robin",
1995), weighed in commands.  A client's turn ends after `TURN_COMMANDS`, also within a frame, which then goes on in its
next turn; so whoever sends little waits for one turn of each other client, and each client's own order is kept.

*Who may come in:* a client may have as much waiting as is still free (Choudhury and Hahne, "Dynamic queue length
thresholds for shared-memory packet switches", 1998).  One that floods alone gets half of the line, two get a third
each, and there is always room for one more.

A client is a connection.  The command log, whose records wait in the log while `log_slots` are taken, is one client.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from bennu.limits import INBOX_BYTES, INBOX_COMMANDS, TURN_COMMANDS
from bennu_cserver.drain import Drain
from bennu_cserver.submission import Submission


class Line:
    """One client's share."""

    __slots__ = ("bytes", "commands", "credit", "submissions", "waiting")

    def __init__(self) -> None:
        self.submissions: deque[Submission] = deque()
        """To be decided, in the client's order."""
        self.credit = 0
        """Commands left of its turn."""
        self.waiting = 0
        self.commands = 0
        self.bytes = 0
        """Submissions, commands and bytes that wait for an answer, decided or not; a query has no command."""


class Inbox:
    """Submissions to be decided, and the count of all that wait for an answer.  True while there is one to decide."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self.commands = 0
        self.bytes = 0
        self.questions = 0
        """Those to be decided that have no command."""
        self._lines: dict[str, Line] = {}
        self._turns: deque[Line] = deque()
        """Clients with something to decide; it is the first one's turn."""
        self._drain = Drain(monotonic_s)

    def __bool__(self) -> bool:
        return bool(self._turns)

    def put(self, submission: Submission) -> bool:
        """Put it in line; False, and nothing was done, when there is no room for this client."""
        client = submission.caller.client
        line = self._lines.get(client)
        if line is None:
            line = Line()
        if not submission.input_topic and self._full(line, submission.bytes):
            return False
        if not self._lines:
            self._drain.begin()
        self._lines[client] = line
        if not line.submissions:
            line.credit = TURN_COMMANDS
            self._turns.append(line)
        line.submissions.append(submission)
        self.questions += not submission.commands
        line.waiting += 1
        line.commands += len(submission.commands)
        line.bytes += submission.bytes
        self.commands += len(submission.commands)
        self.bytes += submission.bytes
        return True

    def _full(self, line: Line, more_bytes: int) -> bool:
        # What the client itself has waiting counts twice: it is at most what is free, once that is taken off.
        return self.commands + line.commands >= INBOX_COMMANDS or self.bytes + line.bytes + more_bytes > INBOX_BYTES

    def first(self) -> tuple[Submission, int]:
        """Whose turn it is, and how many of its commands may be decided in it."""
        line = self._turns[0]
        submission = line.submissions[0]
        if submission.caller.path is not None:
            submission.caller.path.begun()
        return submission, line.credit if len(self._turns) > 1 else len(submission.commands)

    def calls(self, most: int) -> Sequence[Submission]:
        """What comes next of the client whose turn it is, as long as each is one command of a caller."""
        line, found = self._turns[0], list[Submission]()
        for call in islice(line.submissions, min(most, line.credit) if len(self._turns) > 1 else most):
            if len(call.commands) != 1 or call.input_topic:
                break
            if call.caller.path is not None:
                call.caller.path.begun()
            found.append(call)
        return found

    def spend(self, commands: int) -> None:
        """So many of the first one's commands are decided; what has none counts as one."""
        line = self._turns[0]
        line.credit -= commands or 1
        submission = line.submissions[0]
        if submission.next == len(submission.commands):
            line.submissions.popleft()
            self.questions -= not submission.commands
            if submission.caller.path is not None:
                submission.caller.path.decided()
        if not line.submissions:
            self._turns.popleft()
        elif len(self._turns) == 1:
            line.credit = TURN_COMMANDS
        elif line.credit <= 0:
            line.credit += TURN_COMMANDS
            self._turns.rotate(-1)

    def answered(self, submission: Submission) -> None:
        """It waits no longer."""
        client, commands = submission.caller.client, len(submission.commands)
        line = self._lines[client]
        line.waiting -= 1
        line.commands -= commands
        line.bytes -= submission.bytes
        self.commands -= commands
        self.bytes -= submission.bytes
        self._drain.count(commands)
        if not line.waiting:
            del self._lines[client]

    def clear(self) -> None:
        """Nothing is to be decided any more; what waits for an answer goes on waiting."""
        self._turns.clear()
        self.questions = 0
        for line in self._lines.values():
            line.submissions.clear()

    def retry_ms(self) -> int:
        """When to come again, for whom there was no room: what waits now is answered by then, at the measured rate."""
        return self._drain.time_ms(self.commands)
