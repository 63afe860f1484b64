"""One step as it is written: what it runs, before its name, its place in the order and its dependencies are settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from txdagu.dagfile.commands import command as as_command
from txdagu.dagfile.commands import read_command, read_output, read_shell
from txdagu.dagfile.conditions import read_conditions
from txdagu.dagfile.containers import read_container
from txdagu.dagfile.fields import Fields, nearest
from txdagu.dagfile.language import DAG, SIGNALS, STEP
from txdagu.dagfile.order import Draft
from txdagu.dagfile.parallel import read_parallel
from txdagu.dagfile.policies import read_continue_on, read_repeat, read_retry
from txdagu.dagfile.report import Report
from txdagu.dagfile.settings import read_llm, read_messages
from txdagu.dagfile.steptype import Kind, read_type
from txdagu.dagfile.steptypes import CALL_TYPE, COMMAND_TYPE, StepType, step_type
from txdagu.dagfile.values import read_env, read_params, read_selector, read_strings
from txdagu.model.dag import ChildCall, Command, LogOutput, Step
from txdagu.yamltree import Node


@dataclass(frozen=True)
class Surroundings:
    """
    What a step takes from its DAG: the command that it runs if it says nothing itself, the type that it has if it names none
    (of a DAG with ``container`` or ``ssh``), and whether there is a language model.
    """

    command: Node | None = None
    step_type: str = ""
    has_llm: bool = False


def read_step(node: Node, around: Surroundings, report: Report) -> Draft:
    """A step that is a mapping of fields."""
    fields = Fields(node, STEP, report, others=(DAG,))
    kind = read_type(fields, around.step_type)
    child = _read_child(fields)
    commands, script = _read_work(fields, child, kind.name, around)
    shell, shell_args = read_shell(fields.node("shell"), report)
    container = read_container(fields)
    step = Step(
        fields.text("name"),
        id=fields.text("id"),
        description=fields.text("description"),
        commands=commands,
        script=script,
        shell=shell,
        shell_args=shell_args,
        dir=fields.text("workingDir") or fields.text("dir"),
        env=read_env(fields.node("env"), report),
        output=read_output(fields),
        child=child,
        worker_selector=read_selector(fields.node("workerSelector"), report),
        type=_type_name(kind),
        config=kind.config,
        params=_read_params(fields, child, kind.type),
        parallel=read_parallel(fields),
        preconditions=read_conditions(fields),
        continue_on=read_continue_on(fields),
        retry_policy=read_retry(fields),
        repeat_policy=read_repeat(fields),
        timeout_seconds=fields.number("timeoutSec"),
        signal_on_stop=_read_signal(fields),
        mail_on_error=fields.switch("mailOnError"),
        stdout=fields.text("stdout"),
        stderr=fields.text("stderr"),
        log_output=read_log_output(fields),
        shell_packages=_read_packages(fields),
        container=container,
        **_read_chat(fields, kind.name, around),
    )
    _check(fields, step)
    prefix = kind.written or ("dag" if child else "script" if script else "cmd" if commands else "step")
    if child is not None and step.parallel is not None:
        prefix = "parallel"
    draft = Draft(step, node, fields.at("name"), fields.at("id"), prefix)
    depends = fields.node("depends")
    if depends is not None:
        draft.depends = read_strings("depends", depends, report)
        draft.depends_place = depends
    return draft


def _type_name(kind: Kind) -> str:
    """The type as it is kept: empty for calls and commands, but for ``shell``, whose commands are evaluated in another way."""
    if kind.type is COMMAND_TYPE:
        return "shell" if kind.written == "shell" else ""
    return "" if kind.type is CALL_TYPE else kind.name


def read_log_output(fields: Fields) -> LogOutput | None:
    """``separate`` or ``merged`` in any case of letters; None where nothing is said."""
    text = fields.text("logOutput").lower() if "logOutput" in fields else ""
    if text in ("separate", "merged"):
        return LogOutput(text)
    if text:
        message = f"invalid logOutput value: \"{fields.text('logOutput')}\" (must be 'separate' or 'merged')"
        fields.problem("logOutput", message, nearest(text, ("separate", "merged")))
    return None


def _read_child(fields: Fields) -> ChildCall | None:
    """The called DAG; ``call`` wins over its older word ``run``."""
    key = "call" if "call" in fields else "run"
    if key not in fields:
        return None
    name = fields.text(key)
    params = read_params(fields.node("params"), fields.report, always_quoted=True)
    if not name:
        if isinstance(fields.at(key).value, str):
            fields.problem(key, "the name of the DAG to call is empty")
    elif _is_shell_command(name):
        advice = f"{key} calls another DAG; write command to run a program"
        fields.problem(key, f"{name!r} is not the name of a DAG", advice)
    return ChildCall(name, params)


def _is_shell_command(name: str) -> bool:
    """Whether the name of a DAG was meant as a command line: blanks in it, no reference, and no file's ending."""
    return any(map(str.isspace, name)) and not name.endswith((".yaml", ".yml")) and not set(name) & {"$", "`"}


def _read_work(
    fields: Fields, child: ChildCall | None, kind: str, around: Surroundings
) -> tuple[tuple[Command, ...], str]:
    """The step's commands and script."""
    report = fields.report
    if child is not None:
        return (), ""
    script = fields.text("script")
    own = fields.node("command")
    command = own
    if own is None and not script and kind in ("", *COMMAND_TYPE.names):
        command = around.command
        written = fields.node("script")  # one of another type was refused as that
        if command is None and (written is None or isinstance(written.value, str)):
            report.add("step command is required", fields.place, "add command, script, or call")
    if command is None:
        if kind in CALL_TYPE.names:
            message = f'step command is required: a step of type "{kind}" calls a DAG'
            report.add(message, fields.place, "add call with the DAG's name")
        elif kind == "archive":
            report.add("archive: command is required", fields.place, "write create, extract or list")
        return (), script
    commands, lines = read_command(command, report)
    if kind not in ("", *COMMAND_TYPE.names):  # to other types a command is a text of theirs, whatever its lines
        takes = step_type(kind).takes
        if lines and "several" in takes and "script" not in takes:
            message = f'executor type "{kind}" does not support script field'
            report.field("command", message, command, "write each line as an item of a list")
        return ((as_command(lines),) if lines else commands), script
    if script and lines:
        report.field("command", "a command of several lines is a script itself", command, "keep one of the two")
    if script and len(commands) > 1:
        report.field("command", "only supports a single command next to a script", command)
    return commands, script or lines


def _read_params(fields: Fields, child: ChildCall | None, kind: StepType) -> str:
    """Params of a step that calls no DAG, which are inputs of a GitHub action and nothing to others."""
    if child is not None or "params" not in fields:
        return ""
    if "params" not in kind.takes:
        advice = "add call with the DAG's name, or use env"
        fields.report.warn("only a step that calls a DAG has params; these are not used", fields.at("params"), advice)
    return read_params(fields.node("params"), fields.report, always_quoted=True)


def _read_signal(fields: Fields) -> str:
    name = fields.text("signalOnStop")
    if not isinstance(fields.at("signalOnStop").value, str):
        return ""
    if name not in SIGNALS:
        full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
        advice = f"did you mean {full!r}?" if full in SIGNALS else nearest(full, SIGNALS) or "write for example SIGINT"
        fields.problem("signalOnStop", f"invalid signal: {name}", advice)
        return ""
    return name


def _read_packages(fields: Fields) -> tuple[str, ...]:
    node = fields.node("shellPackages")
    if node is not None and not isinstance(node.value, list):
        fields.problem("shellPackages", "source data must be an array or slice", "write the packages in [ ]")
        return ()
    return tuple(text for text, _ in read_strings("shellPackages", node, fields.report))


def _read_chat(fields: Fields, kind: str, around: Surroundings) -> dict[str, Any]:
    """What a chat step says and to whom; its own language model replaces the DAG's as a whole."""
    chat = kind == "chat"
    llm, messages = read_llm(fields, complete=chat), read_messages(fields)
    if chat and not messages and (not fields.node("messages") or not fields.at("messages").value):
        fields.problem("messages", "at least one message is required")
    if chat and "llm" not in fields and not around.has_llm:
        fields.problem("llm", "provider and model are required (set at DAG or step level)")
    return {"llm": llm, "messages": messages}


def _check(fields: Fields, step: Step) -> None:
    if step.parallel is not None and step.child is None:
        message = "parallel execution is only supported for child-DAGs (must have 'call' field)"
        fields.problem("parallel", message, "add call with the DAG's name")
    if step.stdout and step.stdout == step.stderr:
        message = f'stdout and stderr cannot point to the same file "{step.stdout}"'
        fields.problem("stderr", message, "write logOutput: merged")
