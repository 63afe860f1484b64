"""What the run core says is to be done, and what it is told in return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from txdagu.model.conditions import Condition
from txdagu.model.dag import Handler, Step
from txdagu.model.policies import RetryPolicy
from txdagu.model.status import NodeState, RunState

Target = int | Handler
"""A step by its index in the list of steps, or a handler."""


@dataclass(frozen=True, slots=True)
class CheckConditions:
    """Evaluate these conditions, those of the DAG for None; answered with `RunCore.conditions_checked`."""

    target: Target | None
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class EvaluateRetry:
    """Evaluate the texts of a retry policy; answered with `RunCore.retry_evaluated`, or `step_ended` where that failed."""

    target: int
    policy: RetryPolicy


@dataclass(frozen=True, slots=True)
class StartStep:
    """Execute this step now, for the first time or again; answered with `RunCore.step_ended`."""

    target: int
    step: Step


@dataclass(frozen=True, slots=True)
class RunHandler:
    """Execute this handler now, in a run that is in that state; answered with `RunCore.step_ended`."""

    target: Handler
    step: Step
    state: RunState


@dataclass(frozen=True, slots=True)
class SearchLog:
    """
    Look for a line of the step's standard output log that contains one of the texts, or a match of what follows ``re:``;
    answered with `RunCore.log_searched`.
    """

    target: int
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopStep:
    """
    Ask what is done for this target to end; with `force`, make it. None stands for the DAG's own conditions.

    `signal` names the signal to pass on; empty: the step's own choice. With `let_go`, runs that it waits for elsewhere go on.
    """

    target: Target | None
    signal: str = ""
    force: bool = False
    let_go: bool = False


@dataclass(frozen=True, slots=True)
class StepSettled:
    """A step or handler that had begun is over; its node says how."""

    target: Target


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Call `RunCore.woken` at this time instead of any told before; with None, not at all."""

    at: datetime | None


@dataclass(frozen=True, slots=True)
class FinishRun:
    """Nothing is left to do; the run ended in this state, for this reason where it is not that of its steps."""

    state: RunState
    reason: str = ""


Effect = (
    CheckConditions | EvaluateRetry | StartStep | RunHandler | SearchLog | StopStep | StepSettled | WakeAt | FinishRun
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    Whether a condition was met; `message` says why not.

    `broken` says that it could not be evaluated, which is no answer: it counts as not met.
    """

    met: bool
    message: str = ""
    broken: bool = False


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How the execution of a step ended. `step` is as evaluated, if that is known; `exit_code` what ``${id.exitCode}`` says."""

    state: NodeState
    error: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    step: Step | None = None
    exit_code: int = 0
