"""Steps of type ``gha``: a GitHub action, run by the program ``act`` (https://nektosact.com)."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.config import Config, evaluated
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.programs import ProgramEnd, step_end
from txdagu.model.errors import DaguError
from txdagu.model.params import parse_params

RUNNER = "node:24-bookworm"
_LABEL = "dagu"
_EXPRESSION = re.compile(r"(\$\{\{.*?\}\})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Action:
    """What is run: the action, its inputs, and options of act."""

    name: str
    inputs: Mapping[str, str]
    options: tuple[str, ...]


async def run_gha_step(context: StepContext) -> StepEnd:
    """
    Run the action of ``command`` (``owner/name@ref``) once, as the only step of a workflow, with ``params`` as its inputs.

    ``${{ … }}`` is left to the action's own world, where the DAG's secrets are known by their names. Raises `DaguError` if act is
    not in the PATH of the step.
    """
    program = await context.tools.in_thread(partial(shutil.which, "act", path=context.environment.get("PATH", "")))
    if program is None:
        raise DaguError(
            "a GitHub action is run by the program act, which is not in PATH: install it from https://nektosact.com, and "
            "Docker, which it runs actions in"
        )
    action = await _read(context)
    directory = await context.tools.in_thread(partial(_furnish, action))
    try:
        # Where act finds no settings of its own, it asks for some on the terminal.
        env = {**context.environment, "XDG_CONFIG_HOME": directory}
        status = await context.run_program((program, *_arguments(context, action, directory)), env)
    finally:
        await context.tools.in_thread(partial(shutil.rmtree, directory, ignore_errors=True))
    return await step_end(context, ProgramEnd(status))


async def _read(context: StepContext) -> _Action:
    step = context.step
    if not step.commands:
        raise DaguError("a gha step needs its action as command, for example command: actions/checkout@v4")
    name = (await context.evaluator.command(step.commands[0].text)).strip()
    inputs = {}
    for key, value in parse_params(step.params):
        if key is None:
            raise DaguError(f"inputs of an action have names: write NAME: {value} into params")
        inputs[key] = await _evaluated(value, context.evaluator)
    return _Action(name, inputs, _options(await evaluated(step.config, context.evaluator)))


async def _evaluated(text: str, evaluator: Evaluator) -> str:
    """The text evaluated, but for expressions of GitHub in it."""
    parts = _EXPRESSION.split(text)
    return "".join([part if index % 2 else await evaluator.field(part) for index, part in enumerate(parts)])


def _options(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The step's config as options of act. Raises `InvalidInputError` with all that is wrong with it."""
    config = Config("gha", {key: value for key, value in values.items() if key.lower() != "capabilities"})
    rights = next((value for key, value in values.items() if key.lower() == "capabilities"), None)
    options = [f"--platform={_LABEL}={config.text('runner') or RUNNER}", "--pull=false"]
    options.append(f"--rebuild={str(config.flag('forceRebuild')).lower()}")
    for key, option in (("autoRemove", "--rm"), ("reuseContainers", "--reuse"), ("privileged", "--privileged")):
        if config.flag(key):
            options.append(option)
    for key, option in (
        ("network", "--network"),
        ("githubInstance", "--github-instance"),
        ("dockerSocket", "--container-daemon-socket"),
        ("containerOptions", "--container-options"),
    ):
        if text := config.text(key):
            options.append(f"{option}={text}")
    artifacts = config.mapping("artifacts")
    options += [f"--artifact-server-{key}={artifacts[key]}" for key in ("path", "port") if artifacts.get(key)]
    if rights is not None and not isinstance(rights, dict):
        config.refuse("capabilities", "must be a mapping with add and drop")
    config.check()
    wanted = Config("gha capabilities", rights or {})
    for key in ("add", "drop"):
        options += [f"--container-cap-{key}={name}" for name in wanted.texts(key)]
    wanted.check()
    return tuple(options)


def _furnish(action: _Action) -> str:
    """A new directory with the workflow, its event, and the empty files that act reads instead of those it would look for."""
    directory = tempfile.mkdtemp(prefix="dagu_gha-")
    step: dict[str, Any] = {"uses": action.name}
    if action.inputs:
        step["with"] = dict(action.inputs)
    job = {"runs-on": _LABEL, "steps": [step]}
    # What is JSON is YAML, too.
    workflow = json.dumps({"name": "dagu", "on": "push", "jobs": {"action": job}}, indent=2)
    Path(directory, "workflow.yml").write_text(workflow, encoding="utf-8")
    Path(directory, "event.json").write_text("{}", encoding="utf-8")
    Path(directory, "empty").touch()
    Path(directory, "act").mkdir()
    Path(directory, "act", "actrc").touch()
    return directory


def _arguments(context: StepContext, action: _Action, directory: str) -> list[str]:
    place, empty = Path(directory), Path(directory, "empty")
    secrets = [f"--secret={secret.name}" for secret in context.dag.secrets]  # their values are in the environment
    return [
        "push",
        f"--workflows={place / 'workflow.yml'}",
        f"--eventpath={place / 'event.json'}",
        f"--directory={context.directory}",
        *(f"--{kind}-file={empty}" for kind in ("secret", "env", "var", "input")),
        *action.options,
        *secrets,
    ]
