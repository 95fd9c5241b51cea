"""Reasons that stand in journals and mean something to more than one service."""

NOTHING_TO_COMPENSATE = "nothing_to_compensate"
"""CServer's rejection of a compensation whose forward command was not carried out: as good as compensated."""
OUTCOME_FORGOTTEN = "outcome_forgotten"
"""CServer's rejection of a compensation where it no longer knows whether the forward command was carried out."""
TIMED_OUT = "step_timed_out"
"""Why a saga asks again for a step, or gives it up, that was not answered."""
RULE_FAILED = "rule_failed"
"""Why a command was not carried out whose rule raised; and, before a colon and the exception, in journals of sagas."""


def named(reason: str) -> str:
    """A reason as domains know it: of a rule that raised, without the exception."""
    return RULE_FAILED if reason.startswith(f"{RULE_FAILED}: ") else reason
