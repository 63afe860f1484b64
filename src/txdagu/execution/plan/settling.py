"""What the end of one step means for its dependants, and what the ends of all mean for the run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from txdagu.execution.plan.effects import StepEnd
from txdagu.model.dag import Handler
from txdagu.model.policies import ContinueOn
from txdagu.model.status import NodeState, RunState

KEPT = frozenset({NodeState.SUCCEEDED, NodeState.SKIPPED, NodeState.PARTIALLY_SUCCEEDED})
VERDICTS: Mapping[NodeState, tuple[NodeState, str]] = {
    NodeState.FAILED: (NodeState.ABORTED, "upstream failed"),
    NodeState.SKIPPED: (NodeState.SKIPPED, "upstream skipped"),
    NodeState.ABORTED: (NodeState.ABORTED, ""),
    NodeState.REJECTED: (NodeState.ABORTED, "upstream rejected"),
}
"""What becomes of a step when one that it depends on ended like this and is not excused."""

_EXIT = re.compile(r"\bexit status (\d+)|\bsignal: ")

_CLOSING: Mapping[RunState, tuple[Handler, ...]] = {
    RunState.SUCCEEDED: (Handler.SUCCESS, Handler.EXIT),
    RunState.PARTIALLY_SUCCEEDED: (Handler.SUCCESS, Handler.EXIT),
    RunState.FAILED: (Handler.FAILURE, Handler.EXIT),
    RunState.REJECTED: (Handler.FAILURE, Handler.EXIT),
    RunState.ABORTED: (Handler.ABORT, Handler.EXIT),
    RunState.WAITING: (Handler.WAIT,),
}


def closing_handlers(state: RunState) -> tuple[Handler, ...]:
    """The handlers that run after the steps, in order."""
    return _CLOSING[state]


def excuses(policy: ContinueOn, end: StepEnd) -> bool:
    """Whether a failure is excused by what is known without its log."""
    return policy.failure or end.exit_code in policy.exit_codes


def was_excused(policy: ContinueOn, error: str, held_up: bool) -> bool:
    """
    Whether a failure of an earlier attempt was excused, by what its record tells: the exit code stands in the step's error
    alone. Where lines of its log may have excused it, it was not if it `held_up` others.
    """
    found = _EXIT.search(error)
    code = int(found[1] or -1) if found else 1
    return policy.failure or code in policy.exit_codes or (bool(policy.outputs) and not held_up)


def lets_go_on(state: NodeState, policy: ContinueOn, excused: bool) -> bool:
    """Whether dependants may run after a step that ended like this; `excused` is said of failures."""
    if state is NodeState.SKIPPED:
        return policy.skipped
    return state in (NodeState.SUCCEEDED, NodeState.PARTIALLY_SUCCEEDED) or (state is NodeState.FAILED and excused)


def run_state(counts: Mapping[NodeState, int], excused: int, handler_failed: bool) -> RunState:
    """
    The state of a run whose steps have ended by themselves; the first rule that fits.

    `counts` says how many steps are in each state, `excused` how many of the failed ones are excused.
    """
    if counts[NodeState.REJECTED]:
        return RunState.REJECTED
    if counts[NodeState.WAITING]:
        return RunState.WAITING
    unexcused = counts[NodeState.FAILED] - excused + counts[NodeState.ABORTED]
    partial = counts[NodeState.PARTIALLY_SUCCEEDED]
    if not unexcused and (excused or partial) and (counts[NodeState.SUCCEEDED] or partial):
        return RunState.PARTIALLY_SUCCEEDED
    if unexcused or excused or handler_failed:
        return RunState.FAILED
    return RunState.SUCCEEDED
