"""
The run core: what happens when in a run, without clock, processes or files.

`RunCore` is told what happened, with the time, and answers with effects to carry out in order. `effects` are those answers,
`graph` the order of the steps, `settling` what one end means for others and for the run, `policies` whether and when a step
runs again, `course` one step or handler on its way through conditions, executions and pauses, `alarms` times to wait for.
"""

from txdagu.execution.plan.core import RunCore
from txdagu.execution.plan.effects import (
    CheckConditions,
    Effect,
    EvaluateRetry,
    FinishRun,
    RunHandler,
    SearchLog,
    StartStep,
    StepEnd,
    StepSettled,
    StopStep,
    Target,
    Verdict,
    WakeAt,
)
from txdagu.execution.plan.graph import check_step

__all__ = [
    "CheckConditions",
    "Effect",
    "EvaluateRetry",
    "FinishRun",
    "RunCore",
    "RunHandler",
    "SearchLog",
    "StartStep",
    "StepEnd",
    "StepSettled",
    "StopStep",
    "Target",
    "Verdict",
    "WakeAt",
    "check_step",
]
