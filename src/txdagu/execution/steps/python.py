"""Steps of type ``python``: a script in an interpreter of one's choice."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from txdagu.execution import files
from txdagu.execution.plan import StepEnd
from txdagu.execution.steps import python_program
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.programs import run_program, step_end
from txdagu.model.errors import DaguError

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


async def run_python_step(context: StepContext) -> StepEnd:
    """
    Run ``script`` with ``config.interpreter``, or the interpreter that we run with.

    The script's text is taken as it stands; its params come to it as the mapping ``params``, everything else as environment
    variables. What it puts into the mapping ``outputs`` become output variables.
    """
    if not context.step.script:
        raise DaguError("a python step needs its program as script")
    config = await context.config()
    interpreter, args = config.text("interpreter") or sys.executable, config.texts("args")
    config.check()
    request = {
        "script": context.step.script,
        "name": f"<{context.step.name}>",
        "params": dict(context.params),
        "args": list(args),
    }
    program = str(Path(python_program.__file__))
    end = await run_program(context, (interpreter, program), request, context.environment)
    return await step_end(context, end, _outputs(context, end.result.get("outputs")))


def _outputs(context: StepContext, told: Any) -> Mapping[str, str]:
    """The outputs that a script told. Raises `DaguError` for names and sizes that are none."""
    if not isinstance(told, dict):
        return {}
    limit = context.dag.max_output_size
    for name, value in told.items():
        if not _NAME.fullmatch(name):
            raise DaguError(f"outputs of the script: {name!r} is not the name of a variable")
        if len(value.encode()) > limit:
            raise files.OutputTooLargeError(
                f"failed to capture output {name}: output exceeded maximum size limit of {limit} bytes"
            )
    return told
