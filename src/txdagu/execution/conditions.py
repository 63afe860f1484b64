"""Evaluates conditions: those of DAGs and steps, and those of repeat policies."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace

from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.groups import run_group
from txdagu.execution.interfaces import ProcessSpec
from txdagu.execution.plan import Verdict
from txdagu.execution.shells import Shell, default_shell, step_shell
from txdagu.execution.steps.context import StepContext, Tools
from txdagu.execution.stop import Stop
from txdagu.model.conditions import Condition
from txdagu.model.dag import Dag, Step
from txdagu.model.errors import DaguError

_PATTERN = "re:"


@dataclass(frozen=True)
class ConditionChecker:
    """
    Evaluates conditions in one place of a run.

    Commands run with `shell`, without ``-e``, in `directory` and `environment`, which is the engine's own with the DAG's; all
    else reaches them as text only.
    """

    evaluator: Evaluator
    shell: Shell
    directory: str
    environment: Mapping[str, str]
    stop: Stop
    tools: Tools

    async def check(self, condition: Condition) -> Verdict:
        """Whether it holds. Raises `StopRequested` only: what cannot be evaluated is a broken verdict."""
        try:
            problem = await (self._compare(condition) if condition.expected else self._run(condition))
        except DaguError as error:
            self.stop.check()
            return Verdict(met=False, message=str(error), broken=True)
        if condition.negate:
            problem = "" if problem else "condition matched but negate is true"
        return Verdict(not problem, f"condition was not met: {problem}" if problem else "")

    async def _run(self, condition: Condition) -> str:
        text = self.evaluator.script(condition.text)
        argv = _words(text) if self.shell.direct else self.shell.command(text)
        command = ProcessSpec(argv, self.directory, self.environment)
        status = await run_group(self.tools.processes, command, self.stop, self.tools.clock)
        self.stop.check()
        return "" if status.ok else str(status)

    async def _compare(self, condition: Condition) -> str:
        value = await self.evaluator.field(condition.text)
        self.stop.check()
        if _matches(value, condition.expected):
            return ""
        expected, got = (json.dumps(text, ensure_ascii=False) for text in (condition.expected, value))
        return f"expected {expected}, got {got}"


def _words(text: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise DaguError(f"the condition {text!r} cannot be split into words: {error}") from error
    if not words:
        raise DaguError(f"the condition {text!r} names no program")
    return words


def _matches(value: str, expected: str) -> bool:
    lines = value.split("\n")
    if not expected.startswith(_PATTERN):
        return expected in lines
    pattern = expected[len(_PATTERN) :]
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise DaguError(f"{pattern!r} is no regular expression: {error}") from error
    return any(search(line) for line in lines)


async def step_checker(context: StepContext, directory: str, outputs: Mapping[str, str]) -> ConditionChecker:
    """For the conditions of a step, in the DAG's `directory`. `outputs` are those that the step itself has captured by now."""
    fallback = default_shell(context.tools.default_shell, context.tools.environ)
    shell = await step_shell(context.step, context.dag, context.evaluator, fallback)
    scope = context.evaluator.scope
    evaluator = replace(context.evaluator, scope=replace(scope, variables={**scope.variables, **outputs}))
    shell = replace(shell, exits_on_error=False)
    return ConditionChecker(evaluator, shell, directory, scope.environ, context.stop, context.tools)


async def dag_checker(dag: Dag, evaluator: Evaluator, directory: str, stop: Stop, tools: Tools) -> ConditionChecker:
    """For the conditions of a DAG."""
    shell = await step_shell(Step(""), dag, evaluator, default_shell(tools.default_shell, tools.environ))
    shell = replace(shell, exits_on_error=False)
    return ConditionChecker(evaluator, shell, directory, evaluator.scope.environ, stop, tools)
