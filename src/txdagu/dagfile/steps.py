"""One step as it is written: what it runs, before its name, its place in the order and its dependencies are settled."""

from __future__ import annotations

from typing import Any

from txdagu.dagfile.commands import command as as_command
from txdagu.dagfile.commands import read_command, read_output, read_shell
from txdagu.dagfile.fields import STEP, Fields, type_name, unknown_keys, wrong_type
from txdagu.dagfile.order import Draft
from txdagu.dagfile.report import Report
from txdagu.dagfile.values import read_env, read_params, read_selector, read_strings
from txdagu.model.dag import ChildCall, Command, Step
from txdagu.yamltree import Node, plain

_OWN_TYPES = ("shell", "command")
_CALL_TYPES = ("dag", "subworkflow")
_REFUSED_TYPES = (
    "docker",
    "container",
    "ssh",
    "gha",
    "github_action",
    "github-action",
    "parallel",
    "hitl",
    "chat",
)
_NOT_BESIDE_CALL = {"command": "command field", "script": "script field", "shell": "shell configuration"}


def read_steps(node: Node | None, default_command: Node | None, report: Report) -> list[list[Draft]]:
    """
    The steps by position: a list inside the list is one position with several steps.

    `default_command` is run by steps that say nothing themselves.
    """
    if node is None:
        return []
    if isinstance(node.value, dict):
        return [[_named_draft(name, node, default_command, report)] for name in node.value]
    if not isinstance(node.value, list):
        report.field(
            "steps", f"steps must be an array or a map, got {type_name(node)}", node, "begin each step with '- '"
        )
        return []
    return [
        [_draft(step, default_command, report) for step in (item.value if isinstance(item.value, list) else [item])]
        for item in node.value
    ]


def _named_draft(name: str, steps: Node, default_command: Node | None, report: Report) -> Draft:
    """A step of the map form, in which the key is the name."""
    assert isinstance(steps.value, dict)
    node, position = steps.value[name], steps.keys[name]
    if not isinstance(node.value, dict):
        report.add(f"invalid step data: {type_name(node)}", node, "write the step's fields below its name")
        return Draft(Step(name), node, position)
    draft = _draft(node, default_command, report)
    if draft.step.name not in ("", name):
        report.field(
            "name", f"the step is already named {name!r} by its key (value: {draft.step.name})", draft.name_place
        )
    draft.name, draft.name_place = name.strip(), position
    return draft


def _draft(node: Node, default_command: Node | None, report: Report) -> Draft:
    if isinstance(node.value, str):
        commands, script = read_command(node, report)
        return Draft(Step("", commands=commands, script=script), node, node, prefix="script" if script else "cmd")
    if not isinstance(node.value, dict):
        report.add(f"invalid step data: {type_name(node)}", node, "write a command, or a step's fields")
        return Draft(Step(""), node, node, prefix="step")
    fields = Fields(node, STEP, report)
    step_type, config = _read_type(fields, report)
    child = _read_child(fields, report)
    commands, script = _read_work(fields, child, step_type, default_command, report)
    shell, shell_args = read_shell(fields.node("shell"), report)
    selector = read_selector(fields.node("workerSelector"), report)
    if selector and child is None:
        report.field(
            "workerSelector",
            f'executor type "{step_type or "command"}" does not support workerSelector',
            _place(fields, "workerSelector"),
            "only a step that calls a DAG goes to a worker: put the command into a DAG of its own and call that",
        )
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
        output=read_output(fields.node("output"), report),
        child=child,
        worker_selector=selector,
        type="" if child is not None else step_type,
        config=config,
    )
    prefix = "dag" if child else step_type or ("script" if script else "cmd" if commands else "step")
    draft = Draft(step, node, _place(fields, "name"), _place(fields, "id"), prefix)
    depends = fields.node("depends")
    if depends is not None:
        draft.depends = read_strings("depends", depends, report)
        draft.depends_place = depends
    return draft


def _read_type(fields: Fields, report: Report) -> tuple[str, dict[str, Any]]:
    """The step's type and its config, by ``type`` and ``config`` or by ``executor``; an empty type runs commands."""
    executor = fields.node("executor")
    place, config = fields.node("type") or fields.place, fields.node("config")
    name = fields.text("type")
    if executor is not None:
        if "type" in fields or "config" in fields:
            report.field("executor", "cannot use both 'type' and 'executor' fields", executor, "keep type and config")
        place = executor
        if isinstance(executor.value, dict):
            unknown_keys(executor, ("type", "config"), "executor has invalid key: ", report)
            place, config = executor.value.get("type", executor), executor.value.get("config")
        name = _executor_type(place, executor, report)
    if name in _REFUSED_TYPES:
        report.field("type", f"the step type {name!r} is not supported by this version", place)
    if config is not None and not isinstance(config.value, dict | None):
        report.field("config", "executor.config value must be a map", config)
        config = None
    elif config is not None and config.value and name in ("", *_OWN_TYPES, *_CALL_TYPES):
        report.field("config", f"the step type {name or 'command'!r} has no config", config)
    return name, plain(config) or {} if config is not None else {}


def _executor_type(place: Node, executor: Node, report: Report) -> str:
    if isinstance(place.value, str):
        return place.value.strip()
    if place is executor and isinstance(place.value, dict):
        return ""
    if place is executor:
        wrong_type("executor", "string", place, report)
    else:
        report.field("executor", "executor.type value must be string", place)
    return ""


def _read_child(fields: Fields, report: Report) -> ChildCall | None:
    """The called DAG; ``call`` wins over its older word ``run``."""
    key = "call" if "call" in fields else "run"
    if key not in fields:
        if "params" in fields:
            report.field(
                "params",
                "only a step that calls a DAG has params",
                _place(fields, "params"),
                "add call with the DAG's name, or use env",
            )
        return None
    name = fields.text(key)
    params = read_params(fields.node("params"), report, always_quoted=True)
    place = _place(fields, key)
    if not name:
        if isinstance(place.value, str):
            report.field(key, "the name of the DAG to call is empty", place)
    elif _is_shell_command(name):
        report.field(
            key, f"{name!r} is not the name of a DAG", place, f"{key} calls another DAG; write command to run a program"
        )
    for other, what in _NOT_BESIDE_CALL.items():
        if other in fields:
            report.field(
                other,
                f'executor type "dag" does not support {what}',
                _place(fields, other),
                "a step that calls a DAG runs nothing itself",
            )
    return ChildCall(name, params)


def _is_shell_command(name: str) -> bool:
    """Whether the name of a DAG was meant as a command line: blanks in it, no reference, and no file's ending."""
    return any(map(str.isspace, name)) and not name.endswith((".yaml", ".yml")) and not set(name) & {"$", "`"}


def _read_work(
    fields: Fields, child: ChildCall | None, step_type: str, default_command: Node | None, report: Report
) -> tuple[tuple[Command, ...], str]:
    """The step's commands and script."""
    if child is not None:
        return (), ""
    if step_type in _CALL_TYPES:
        message = f'step command is required: a step of type "{step_type}" calls a DAG'
        report.add(message, fields.place, "add call with the DAG's name")
        return (), ""
    script = fields.text("script")
    own = fields.node("command")
    command = own if own is not None or script or step_type not in ("", *_OWN_TYPES) else default_command
    if command is None:
        if not script and step_type in ("", *_OWN_TYPES):
            report.add("step command is required", fields.place, "add command, script, or call")
        return (), script
    commands, lines = read_command(command, report)
    if lines and step_type not in ("", *_OWN_TYPES):  # for the others a command is no program
        commands, lines = (as_command(lines),), ""
    if script and lines:
        report.field("command", "a command of several lines is a script itself", command, "keep one of the two")
    if script and len(commands) > 1 and step_type in ("", *_OWN_TYPES):
        report.field("command", "only supports a single command next to a script", command)
    return commands, script or lines


def _place(fields: Fields, name: str) -> Node:
    return fields.node(name) or fields.place
