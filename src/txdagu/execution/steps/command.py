"""Steps that run commands or a script on this machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from txdagu.execution import files
from txdagu.execution.interfaces import ExitStatus
from txdagu.execution.plan import StepEnd
from txdagu.execution.shells import Shell, default_shell, shebang, step_shell
from txdagu.execution.steps.context import StepContext
from txdagu.model.dag import Command, Step
from txdagu.model.errors import DaguError
from txdagu.model.status import NodeState
from txdagu.model.words import split_words

Words = tuple[str, ...]

# Where this type is written out, the shell finds params and outputs in its environment as they are: nothing is pasted into a
# command. A script goes through all stages, as that of other types.
_WRITTEN_OUT = "shell"


@dataclass(frozen=True, slots=True)
class _Ended:
    """How the programs of a step ended: the last one's `status`, and its `number` where there were several."""

    status: ExitStatus
    number: int = 0


async def run_command_step(context: StepContext) -> StepEnd:
    """
    Run the step's commands one after the other until one fails, or its script.

    What it printed is captured also when it fails. Raises `DaguError` when it cannot even begin, `StopRequested` when it was
    stopped before it began.
    """
    tools = context.tools
    fallback = default_shell(tools.default_shell, tools.environ)
    shell = await step_shell(context.step, context.dag, context.evaluator, fallback)
    before = 0
    if context.step.output is not None:
        before = await tools.in_thread(partial(files.size, context.logs.stdout))
    if context.step.script:
        step, ended = await _run_script(context, shell)
    else:
        step, ended = await _run_commands(context, shell)
    return await _end(context, step, ended, before)


async def _run_commands(context: StepContext, shell: Shell) -> tuple[Step, _Ended]:
    evaluated: list[tuple[Command, Words]] = [
        await _evaluated(context, command, shell) for command in context.step.commands
    ]
    step = replace(context.step, commands=tuple(command for command, _ in evaluated))
    ended = _Ended(ExitStatus(0))
    for number, (_, argv) in enumerate(evaluated, 1):
        ended = _Ended(await context.run_program(argv), number if len(evaluated) > 1 else 0)
        if not ended.status.ok:
            break
    return step, ended


async def _evaluated(context: StepContext, command: Command, shell: Shell) -> tuple[Command, Words]:
    """A command with its references replaced, and what is started for it."""
    evaluator, written_out = context.evaluator, context.step.type == _WRITTEN_OUT
    if shell.direct or not command.text:
        words = await _evaluated_words(context, command)
        return Command(command.text if written_out else evaluator.script(command.text), words[0], words[1:]), words
    text = evaluator.for_shell(command.text) if written_out else await evaluator.command(command.text)
    if text == command.text:
        return command, shell.command(text)
    words = (*split_words(text), "")
    return Command(text, words[0], words[1:-1]), shell.command(text)


async def _evaluated_words(context: StepContext, command: Command) -> Words:
    written = (command.program, *command.args) if command.program else tuple(split_words(command.text))
    if not written:
        raise DaguError("step command is empty")
    return tuple([await context.evaluator.command(word) for word in written])


async def _run_script(context: StepContext, shell: Shell) -> tuple[Step, _Ended]:
    """Write the script into a file of its own, run that, and remove it, whatever happens."""
    evaluator, script = context.evaluator, context.step.script
    text = await evaluator.field(script) if context.step.type == _WRITTEN_OUT else evaluator.script(script)
    program: Words = ()
    if context.step.commands:
        program = await _evaluated_words(context, context.step.commands[0])
    elif not context.step.shell:
        program = shebang(text)
    if not program and shell.direct:
        raise DaguError("a script needs a shell, a command or a first line with #!; shell: direct gives none")
    suffix = "" if program else shell.suffix
    written = text if program else shell.script_text(text)
    context.stop.check()
    in_thread = context.tools.in_thread
    path = await in_thread(partial(files.write_script, context.directory, suffix, written))
    try:
        status = await context.run_program((*program, path) if program else shell.file(path))
    finally:
        await in_thread(partial(files.remove, path))
    return replace(context.step, script=text), _Ended(status)


async def _end(context: StepContext, step: Step, ended: _Ended, before: int) -> StepEnd:
    """Capture the output and word the error."""
    error = ended.status.trouble if ended.status.ok else await _error(context, ended)
    outputs: dict[str, str] = {}
    if step.output is not None:
        try:
            outputs[step.output.name] = await context.captured(before)
        except DaguError as problem:
            error = error or f'failed to execute step "{step.name}": {problem}'
    state = NodeState.FAILED if error else NodeState.SUCCEEDED
    return StepEnd(state, error, outputs, step, ended.status.code if not ended.status.ok else int(bool(error)))


async def _error(context: StepContext, ended: _Ended) -> str:
    if context.stop.requested:
        return str(ended.status)
    which = f"command {ended.number} failed: " if ended.number else ""
    error = f'failed to execute step "{context.step.name}": {which}{ended.status}'
    if full := await context.tools.in_thread(partial(files.no_room, context.logs.stdout)):
        error += f" ({full})"
    tail = ""
    if not context.merged:
        tail = await context.tools.in_thread(partial(files.read_tail, context.logs.stderr, 0))
    return f"{error}\nrecent stderr (tail):\n{tail}" if tail else error
