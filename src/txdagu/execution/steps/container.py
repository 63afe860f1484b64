"""Steps of type ``docker`` and ``container``: commands in containers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from txdagu.execution import files
from txdagu.execution.containers.blueprint import Blueprint, DockerOptions, of_container, of_options, with_env
from txdagu.execution.containers.commands import run_in
from txdagu.execution.containers.engine import ContainerEngine
from txdagu.execution.containers.lifecycle import discard, find_running, provide_image, run_alone
from txdagu.execution.containers.shared import begin, connect, evaluated_auths, evaluated_container, labels_of
from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.config import Config, evaluated
from txdagu.execution.steps.context import StepContext
from txdagu.model.container import PullPolicy
from txdagu.model.dag import Command
from txdagu.model.errors import DaguError
from txdagu.model.status import NodeState
from txdagu.model.words import split_words

Words = tuple[str, ...]
_PULL = {"true": PullPolicy.ALWAYS, "false": PullPolicy.NEVER, "": PullPolicy.MISSING}


@dataclass(frozen=True, slots=True)
class _Ended:
    """The exit status of the last command; whether it was `executed` in a running container, and its `number` among several."""

    code: int
    executed: bool = False
    number: int = 0

    def __str__(self) -> str:
        which = f"command {self.number} failed: " if self.number else ""
        return which + (f"exec failed with exit code: {self.code}" if self.executed else f"exit status {self.code}")


async def run_container_step(context: StepContext) -> StepEnd:
    """
    Run the step's commands in the container of its ``container`` or ``config``, else in that of its DAG.

    A command alone is the program of a container of its own; several are executed one after the other in one container, until
    one fails. No shell is put around them.
    """
    commands = [await _evaluated(context, command) for command in context.step.commands]
    step = replace(context.step, commands=tuple(command for command, _ in commands))
    ended = await _run(context, [words for _, words in commands])
    if not ended.code:
        return StepEnd(NodeState.SUCCEEDED, step=step)
    error = f'failed to execute step "{step.name}": {ended}'
    if not context.stop.requested and not context.merged:
        tail = await context.tools.in_thread(partial(files.read_tail, context.logs.stderr, 0))
        error += f"\nrecent stderr (tail):\n{tail}" if tail else ""
    return StepEnd(NodeState.FAILED, error, step=step, exit_code=ended.code)


async def _evaluated(context: StepContext, command: Command) -> tuple[Command, Words]:
    """The words of a command, each evaluated by itself, so that a value with blanks stays one word."""
    written = split_words(command.text) if command.text else (command.program, *command.args)
    words = tuple([await context.evaluator.field(word) for word in written])
    if not words:
        raise DaguError("step command is empty")
    return Command(command.text, words[0], words[1:]), words


async def _run(context: StepContext, commands: Sequence[Words]) -> _Ended:
    shared = context.container
    if context.step.container is None and not context.step.config and shared is not None:
        options = with_env({**shared.options, "Env": None}, {**_env_of(shared.options), **_step_env(context)})
        return await _run_each(context, shared.engine, shared.id, commands, options, numbered=True)
    plan = await _plan(context)
    engine = await connect(context.tools, context.evaluator.scope.environ, context.stop)
    stop, clock = context.stop, context.tools.clock
    if plan.name:
        running = await find_running(engine, plan.name, stop, clock, needed=not plan.image)
        if running:
            return await _run_each(context, engine, running, commands, plan.in_running)
    plan = plan.labelled(labels_of(context.request, context.step.name))
    auths = await evaluated_auths(context.dag, context.evaluator)
    if len(commands) < 2:
        await provide_image(engine, plan, auths, stop)
        words = commands[0] if commands else ()
        write, warn = partial(_write, context), context.print_error
        return _Ended(await run_alone(engine, plan, words, stop, clock, write, warn))
    container = await begin(engine, plan, auths, stop, context.tools, context.print_error)
    try:
        return await _run_each(context, engine, container, commands, {}, ours=True)
    finally:
        if not plan.keep:
            await discard(engine, container, context.print_error)
        elif not plan.name:  # nobody could find it again, and it would run for ever
            await discard(engine, container, context.print_error, keep=True)


async def _run_each(
    context: StepContext,
    engine: ContainerEngine,
    container: str,
    commands: Sequence[Words],
    options: Mapping[str, Any],
    *,
    ours: bool = False,
    numbered: bool = False,
) -> _Ended:
    """Execute commands in a running container, which may be killed if it is ours alone; `numbered` counts one as well."""
    if not commands:
        raise DaguError("a step needs a command to execute in a running container")
    numbered = numbered or len(commands) > 1
    ended = _Ended(0)
    for number, words in enumerate(commands, 1):
        code = await run_in(
            engine,
            container,
            words,
            options,
            context.stop,
            context.tools.clock,
            partial(_write, context),
            kill_container=ours,
        )
        ended = _Ended(code, True, number if numbered else 0)
        if code or context.stop.requested:
            break
    return ended


async def _write(context: StepContext, data: bytes, error: bool) -> None:
    await context.printer.write(data, error=error)


async def _plan(context: StepContext) -> Blueprint:
    env = _step_env(context)
    container = context.step.container
    if container is not None:
        whole = await evaluated_container(container, context.evaluator, context.step.name)
        return of_container(whole, env, context.directory)
    if not context.step.config:
        raise DaguError(f"a step of type {context.step.type} needs a container, or config with image or containerName")
    config = await context.config()
    written: dict[str, Any] = await evaluated(context.step.config, context.evaluator)
    options = DockerOptions(
        image=config.text("image"),
        container_name=config.text("containerName"),
        pull=_pull(config),
        auto_remove=config.flag("autoRemove"),
        platform=config.text("platform"),
        working_dir=config.text("workingDir"),
        volumes=config.texts("volumes"),
        container=_section(config, written, "container"),
        host=_section(config, written, "host"),
        network=_section(config, written, "network"),
        execution=_section(config, written, "exec"),
    )
    config.check()
    return of_options(options, env, context.directory)


def _pull(config: Config) -> PullPolicy:
    text = config.text("pull").lower()
    known = {**_PULL, **{policy.value: policy for policy in PullPolicy}}
    if text not in known:
        config.refuse("pull", f"must be always, missing, never, true or false, got {text!r}")
    return known.get(text, PullPolicy.MISSING)


def _section(config: Config, written: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Settings that go to the engine as they are."""
    value = next((value for name, value in written.items() if name.lower() == key), None) or {}
    if not isinstance(value, Mapping):
        config.refuse(key, "must be a mapping of settings as the engine's API names them")
        return {}
    return value


def _step_env(context: StepContext) -> dict[str, str]:
    """The step's own variables, evaluated: they win over all others, so they are found in the whole environment."""
    names = (text.partition("=")[0] for text in context.step.env)
    return {name: context.environment[name] for name in names}


def _env_of(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, _, value in (text.partition("=") for text in options.get("Env") or ())}
