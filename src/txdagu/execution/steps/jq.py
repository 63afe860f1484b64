"""Steps of type ``jq``: a query over a JSON text."""

from __future__ import annotations

from dataclasses import replace

from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.programs import run_module, step_end
from txdagu.model.errors import DaguError


async def run_jq_step(context: StepContext) -> StepEnd:
    """
    Run the query in ``command`` over the JSON in ``script``, in a process: a query can run for ever.

    The query is taken as it stands, since ``$name`` means something in it; the script is evaluated.
    Each result is printed on its own line. What goes wrong within the query is told on standard error and does not fail the
    step; a query or an input that cannot be read does.
    """
    step = context.step
    if not step.commands:
        raise DaguError('a jq step needs its query as command, for example command: ".items[]"')
    if not step.script:
        raise DaguError("a jq step needs the JSON that it works on as script")
    config = await context.config()
    raw = config.flag("raw")
    config.check()
    script = await context.evaluator.field(step.script)
    request = {"query": step.commands[0].text, "input": script, "raw": raw}
    end = await run_module(context, "txdagu.execution.steps.jq_program", request)
    return replace(await step_end(context, end), step=replace(step, script=script))
