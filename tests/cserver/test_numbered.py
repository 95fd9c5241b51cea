"""Commands of a saga's numbered stream, as a leader decides them."""

from bank.app import app
from bank.v1.commands_pb2 import OpenAccount
from bennu.explore.processes import first_record, leading
from bennu.replica.fold import AggregateFold
from bennu.replica.pauses import Pauses
from bennu.testing.clock import ManualClock
from bennu.testing.loop import run
from bennu_cserver.command_loop import Partition
from bennu_cserver.submission import Submission
from tests.cserver.test_intake import never, prepared

HOUR_US = 3_600_000_000


async def decided_after_idleness() -> int:
    """For how long a partition had been idle, by the time journaled with a saga's command that it then decides."""
    fold = AggregateFold(app)
    replica = leading("bank-events-0", fold, [first_record(0, 1)], place=(0, 1), now_us=0)
    began_us, clock = replica.tick(), replica.clock
    assert isinstance(clock, ManualClock)
    clock.advance_us(HOUR_US)
    partition = Partition(replica, fold, Pauses())
    submission = Submission([prepared(OpenAccount(account="a", currency="EUR"), "n1")], never)
    submission.source, submission.first_no = "bank-saga-0", 1
    partition.submit(submission)
    partition.decide_some()
    return replica.seal()[1].recorded_at_us - began_us


def test_a_sagas_command_is_decided_at_its_own_time() -> None:
    """The first one after idleness, too: what was journaled last says nothing of when this one came."""
    assert run(decided_after_idleness()) == HOUR_US
