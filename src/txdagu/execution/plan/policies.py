"""Whether and when a step runs again after an execution has ended."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, auto

from txdagu.execution.plan.effects import StepEnd
from txdagu.model.policies import RepeatMode, RepeatPolicy, RetryPolicy
from txdagu.model.status import NodeState

LONGEST_PAUSE = 10 * 365 * 24 * 3600  # seconds; where back-off would go beyond what times can say


class Again(Enum):
    """What follows after a round of a step with a repeat policy."""

    NO = auto()
    YES = auto()
    ASK = auto()  # the policy's condition decides


def pause(interval: int, backoff: float, rounds: int, longest: int) -> timedelta:
    """``interval * backoff ** rounds`` seconds, at most `longest` where that is not 0."""
    try:
        seconds = interval * (backoff or 1.0) ** rounds
    except OverflowError:
        seconds = float("inf")
    return timedelta(seconds=max(0.0, min(seconds, longest if longest > 0 else LONGEST_PAUSE, LONGEST_PAUSE)))


def may_retry(policy: RetryPolicy, limit: int, retries: int, end: StepEnd) -> bool:
    """Whether a failed execution is tried once more; `retries` were made before, `limit` is the policy's, evaluated."""
    return (
        end.state is NodeState.FAILED
        and retries < limit
        and (not policy.exit_codes or end.exit_code in policy.exit_codes)
    )


def after_round(policy: RepeatPolicy, rounds: int, end: StepEnd) -> Again:
    """What the policy says after so many `rounds`, of which the last ended like that."""
    if 0 < policy.limit <= rounds:
        return Again.NO
    if policy.condition is not None:
        return Again.ASK
    if policy.exit_codes:
        return goes_on(policy, end.exit_code in policy.exit_codes)
    return goes_on(policy, end.state in (NodeState.SUCCEEDED, NodeState.PARTIALLY_SUCCEEDED))


def goes_on(policy: RepeatPolicy, true: bool) -> Again:
    """Another round, given whether what the policy looks at is true."""
    return Again.YES if true is (policy.mode is RepeatMode.WHILE) else Again.NO
