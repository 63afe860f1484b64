"""Programs of our own that do a step's work in a process, where it may block, use memory, and be killed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from os import pathsep
from typing import Any

from txdagu.execution import files
from txdagu.execution.interfaces import ExitStatus
from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.exchange import read_result, write_request
from txdagu.model.status import NodeState


@dataclass(frozen=True, slots=True)
class ProgramEnd:
    """How a program ended, and what it wrote into its result."""

    status: ExitStatus
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """Why it failed: its own words where it had any, else its exit status; empty if it did not."""
        return str(self.result.get("error") or "") or ("" if self.status.ok else str(self.status))


async def run_module(context: StepContext, module: str, request: Mapping[str, Any]) -> ProgramEnd:
    """
    Run a module of this package with our interpreter and what it can import.

    Its argument is the directory of `txdagu.execution.steps.exchange`. The step's directory is not searched for modules.
    """
    env = {**context.environment, "PYTHONPATH": pathsep.join(path for path in sys.path if path)}
    return await run_program(context, (sys.executable, "-P", "-m", module), request, env)


async def run_program(
    context: StepContext, argv: tuple[str, ...], request: Mapping[str, Any], env: Mapping[str, str]
) -> ProgramEnd:
    """Run `argv` with the directory of the exchange as its last argument; the directory is removed afterwards."""
    in_thread = context.tools.in_thread
    directory = await in_thread(partial(write_request, request))
    try:
        status = await context.run_program((*argv, directory), env)
        return ProgramEnd(status, await in_thread(partial(read_result, directory)))
    finally:
        await in_thread(partial(shutil.rmtree, directory, ignore_errors=True))


async def step_end(context: StepContext, end: ProgramEnd, outputs: Mapping[str, str] | None = None) -> StepEnd:
    """What a program's end means for its step; one that said nothing itself is quoted from its standard error."""
    if not end.error:
        return StepEnd(NodeState.SUCCEEDED, outputs=outputs or {})
    error = f'failed to execute step "{context.step.name}": {end.error}'
    if not end.result.get("error") and not context.stop.requested and context.logs.stderr != context.logs.stdout:
        tail = await context.tools.in_thread(partial(files.read_tail, context.logs.stderr, 0))
        error += f"\nrecent stderr (tail):\n{tail}" if tail else ""
    return StepEnd(NodeState.FAILED, error, outputs or {}, exit_code=1 if end.status.ok else end.status.code)
