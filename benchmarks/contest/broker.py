"""RocketMQ as it would run for long: with Java's second compiler, which `bennu.stack` leaves out to boot sooner.

A message a command costs the broker more than Bennu's batches do, so without it RocketMQ's own benchmark would be the
one that suffers.
"""

from dataclasses import replace

from bennu.stack.child import Child, Program
from bennu.stack.rocketmq import RocketMQ

FIRST_COMPILER_ALONE = "-XX:TieredStopAtLevel=1"


class WarmRocketMQ(RocketMQ):
    """The same processes, with Java's own choice of compilers."""

    def _child(self, program: Program) -> Child:
        assert FIRST_COMPILER_ALONE in program.command, "the stack boots otherwise now: is this still needed?"
        command = [word for word in program.command if word != FIRST_COMPILER_ALONE]
        return super()._child(replace(program, command=command))
