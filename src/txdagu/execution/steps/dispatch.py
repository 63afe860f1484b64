"""From a step to what executes it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from txdagu.dispatch.routing import Place
from txdagu.execution import files
from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.child import run_child_step
from txdagu.execution.steps.command import run_command_step
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.elsewhere import route_of, run_on_worker
from txdagu.execution.steps.parallel import run_parallel_step
from txdagu.model.dag import Step
from txdagu.model.errors import DaguError
from txdagu.model.status import NodeState

if TYPE_CHECKING:
    from txdagu.execution.steps.interfaces import IStepType, StepTraits

_COMMANDS = frozenset({"", "shell", "command"})


async def run_step(context: StepContext) -> StepEnd:
    """
    Execute a step by its type, here or on the worker that its selector asks for.

    Calls and commands are known here; plugins are looked for only when a step has another type, so that no run without
    such steps waits for that. Raises `DaguError` when the step cannot even begin, `StopRequested` when it was stopped before.
    """
    step = context.step
    if step.child is not None:
        return await (run_child_step(context) if step.parallel is None else run_parallel_step(context))
    way = await route_of(context)
    if way is not None and way.place is Place.WORKER:
        return await run_on_worker(context, way)
    if step.type in _COMMANDS:
        return await run_command_step(context)
    return await _run_plugin(context)


async def _run_plugin(context: StepContext) -> StepEnd:
    step, in_thread = context.step, context.tools.in_thread
    before = await in_thread(partial(files.size, context.logs.stdout)) if step.output is not None else 0
    context.stop.check()
    try:
        step_type = await in_thread(partial(_found, step.type))
        _check(step, step_type.traits)
        end: StepEnd = await step_type.run(context)
    except DaguError as error:
        end = StepEnd(NodeState.FAILED, f'failed to execute step "{step.name}": {error}', exit_code=1)
    if step.output is None or step.output.name in end.outputs:
        return end
    try:
        text = await context.captured(before)
    except DaguError as problem:
        return replace(end, state=NodeState.FAILED, error=end.error or str(problem), exit_code=end.exit_code or 1)
    return replace(end, outputs={**end.outputs, step.output.name: text})


def _found(name: str) -> IStepType:
    """The plugin for that type. What looks for plugins is imported only now: most runs need none."""
    from txdagu.execution.steps.registry import find_step_type

    return find_step_type(name)


def _check(step: Step, traits: StepTraits) -> None:
    """Raise `DaguError` for fields that the type does not take: where the file was read it may not have been installed."""
    unfit = [
        what
        for written, supported, what in (
            (step.commands, traits.command, "command field"),
            (step.script, traits.script, "script field"),
            (step.shell, traits.shell, "shell configuration"),
            (step.container, traits.container, "container field"),
        )
        if written and not supported
    ]
    if unfit:
        raise DaguError(f'executor type "{step.type}" does not support {", ".join(unfit)}: take it out of the step')
    if len(step.commands) > 1 and not traits.several_commands:
        raise DaguError(f'executor type "{step.type}" only supports a single command')
