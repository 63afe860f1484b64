"""Steps of type ``hitl``: a human in the loop, for whose word the run waits."""

from __future__ import annotations

from dataclasses import replace

from txdagu.execution.plan import StepEnd
from txdagu.execution.plan.approval import Question
from txdagu.execution.steps.config import Config, evaluated
from txdagu.execution.steps.context import StepContext
from txdagu.model.status import NodeState


async def run_hitl_step(context: StepContext) -> StepEnd:
    """
    Print what is asked, and end as waiting; nothing stays behind that waits.

    The step's options are kept evaluated, so that whoever is asked later reads them as they were meant.
    """
    options = await evaluated(context.step.config, context.evaluator)
    config = Config(context.step.type, options)
    question = Question(config.text("prompt"), config.texts("input"), config.texts("required"))
    config.check()
    await context.print(announcement(question))
    return StepEnd(NodeState.WAITING, step=replace(context.step, config=options))


def announcement(question: Question) -> str:
    """What the step's log says, as Dagu 1.30.2 does."""
    lines = ["Waiting for human approval..."]
    if question.prompt:
        lines += ["", "Prompt:", question.prompt]
    if question.inputs:
        lines += ["", f"Expected inputs: [{' '.join(question.inputs)}]"]
        if question.required:
            lines.append(f"Required inputs: [{' '.join(question.required)}]")
    return "\n".join(lines) + "\n"
