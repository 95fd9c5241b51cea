"""A saga's command that is asked for again is answered or forgotten, and never decided twice."""

from bank.v1.commands_pb2 import Deposit
from bennu.replica.decision import EVENT
from bennu.replica.window import ReplyWindow
from bennu.v1.command_pb2 import Origin
from bennu_cserver.deciding import answered_before
from bennu_cserver.replies import FORGOTTEN
from bennu_cserver.submission import Prepared

DIGEST = bytes(16)


def asked(*, repeats: bool) -> Prepared:
    """A saga's command."""
    name = Deposit.DESCRIPTOR.full_name
    return Prepared("saga:T:t:0-1:0f", name, None, None, DIGEST, Origin(), repeats=repeats)


def test_a_repeat_whose_reply_is_gone_is_forgotten() -> None:
    """The stream's order says that it was decided, although the window no longer holds it; a first one is new."""
    window = ReplyWindow()
    assert answered_before(asked(repeats=True), window, numbered=True) == FORGOTTEN
    assert answered_before(asked(repeats=False), window, numbered=True) is None


def test_a_repeat_whose_reply_is_there_is_answered() -> None:
    """As any command of a known id."""
    window = ReplyWindow()
    window.count = 10
    window.add(asked(repeats=False).command_id, DIGEST, outcome=EVENT, reply=b"done")
    assert answered_before(asked(repeats=True), window, numbered=True) == (0, b"done")
