"""The step type ``ssh``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTCP

from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.ssh.target import Target, read_target
from txdagu.execution.steps.ssh.words import evaluated_command
from txdagu.model.dag import Step
from txdagu.model.errors import DaguError
from txdagu.model.status import NodeState

if TYPE_CHECKING:
    from txdagu.execution.steps.ssh.client import Client
    from txdagu.execution.steps.ssh.session import RemoteEnd


async def run_ssh_step(context: StepContext) -> StepEnd:
    """
    Execute the step's commands on another host, one after the other until one fails, all in one login.

    Each gets a session of its own, in the home directory there and without anything of our environment. The exit status of a
    failed one is the step's.
    """
    target = await read_target(context)
    evaluated = [await evaluated_command(command, context.evaluator, target.shell) for command in context.step.commands]
    step = replace(context.step, commands=tuple(command for command, _ in evaluated))
    if not evaluated:
        return StepEnd(NodeState.SUCCEEDED, step=step)
    client = await context.stop.race(_log_in(context, target))
    try:
        for number, (_, line) in enumerate(evaluated, 1):
            end = await client.run(line, partial(_write, context), context.stop)
            if not end.ok:
                return _failed(context, step, number, end)
    finally:
        client.close()
    return StepEnd(NodeState.SUCCEEDED, step=step)


async def _log_in(context: StepContext, target: Target) -> Client:
    tools = context.tools
    if not IReactorTCP.providedBy(tools.clock):
        raise DaguError("ssh steps need a reactor that makes connections")
    await tools.in_thread(_load)
    from txdagu.execution.steps.ssh.client import log_in

    return await log_in(tools.clock, target, tools.environ.get("SSH_AUTH_SOCK", ""), tools.in_thread)


def _load() -> None:
    """Import what only steps of this type need; it takes a while."""
    try:
        import_module("txdagu.execution.steps.ssh.client")
    except ImportError as error:
        raise DaguError(
            f"ssh steps need the package {error.name}, which is not installed: pip install 'txdagu[ssh]'"
        ) from error


async def _write(context: StepContext, data: bytes, error: bool) -> None:
    await context.printer.write(data, error=error)


def _failed(context: StepContext, step: Step, number: int, end: RemoteEnd) -> StepEnd:
    code = end.code if end.code >= 0 or end.signal else 1
    error = str(end)
    if not context.stop.requested:
        error = f'failed to execute step "{step.name}": command {number} failed: {error}'
    return StepEnd(NodeState.FAILED, error, step=step, exit_code=code)
