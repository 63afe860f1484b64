"""The type of one step and its ``config``, and whether the step has only fields that its type takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from txdagu.dagfile.fields import Fields, nearest, type_name
from txdagu.dagfile.language import EXECUTOR
from txdagu.dagfile.steptypes import CALL_TYPE, OTHER_TYPE, StepType, step_type
from txdagu.yamltree import Node, plain

# A step's field, what its type must take for it, and the word for it in messages.
_NEEDS = (
    ("command", "command", "command field"),
    ("script", "script", "script field"),
    ("shell", "shell", "shell configuration"),
    ("container", "container", "container field"),
    ("call", "call", "sub-DAG execution"),
    ("run", "call", "sub-DAG execution"),
    ("messages", "messages", "messages field"),
)


@dataclass(frozen=True)
class Kind:
    """A step's type: its `name`, as `written` (empty where it follows from other fields), and its `config` as written."""

    name: str
    type: StepType
    written: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)


def read_type(fields: Fields, default: str) -> Kind:
    """
    The type by ``type`` and ``config`` or by the older ``executor``; else what follows from ``call`` or a container of the step's
    own; else the DAG's `default`.
    """
    written, config = fields.text("type"), fields.node("config")
    place = fields.at("type")
    executor = fields.node("executor")
    if executor is not None:
        if "type" in fields or "config" in fields:
            fields.problem("executor", "cannot use both 'type' and 'executor' fields", "keep type and config")
        place = executor
        if isinstance(executor.value, dict):
            own = Fields(executor, EXECUTOR, fields.report)
            place, config = own.at("type"), executor.value.get("config")
            written = _executor_type(own)
        else:
            written = fields.text("executor")
    calls = "call" in fields or "run" in fields
    if calls and executor is not None and written not in CALL_TYPE.names:
        fields.report.warn("a step that calls a DAG has no other type; this one is ignored", place)
        written = ""
    name = written or ("dag" if calls else "docker" if "container" in fields else default)
    kind = step_type(name)
    kept = _read_config(config, kind, name, fields)
    _check_fields(fields, kind, name)
    return Kind(name, kind, written, kept)


def _executor_type(own: Fields) -> str:
    node = own.node("type")
    if node is None:
        return ""
    if isinstance(node.value, str):
        return node.value.strip()
    own.report.field("executor", "executor.type value must be string", node)
    return ""


def _read_config(node: Node | None, kind: StepType, name: str, fields: Fields) -> dict[str, Any]:
    """The options as written, under the names of Dagu 1.30.2 where these are known."""
    if node is None or node.value is None:
        return {}
    if not isinstance(node.value, dict):
        fields.report.field("config", f"executor.config value must be a map, got {type_name(node)}", node)
        return {}
    if kind.config is None:
        if node.value and kind is not OTHER_TYPE:
            fields.report.warn(f"the step type {name or 'command'!r} has no config, and this one is ignored", node)
        found: dict[str, Any] = plain(node)
        return found
    Fields(node, kind.config, fields.report, "config.")
    definitions = {key: kind.config.field_of(key) for key in node.value}
    kept = {one.name if one else key: plain(node.value[key]) for key, one in definitions.items()}
    if name == "hitl":
        _check_inputs(kept, node, fields)
    return kept


def _check_inputs(config: Mapping[str, Any], node: Node, fields: Fields) -> None:
    inputs, required = config.get("input") or [], config.get("required") or []
    if isinstance(inputs, list) and isinstance(required, list):
        for name in required:
            if name not in inputs:
                message = f'required field "{name}" is not in input list'
                fields.report.field("config", message, node, nearest(str(name), map(str, inputs)))


def _check_fields(fields: Fields, kind: StepType, name: str) -> None:
    """Report the fields that the type does not take."""
    shown = name or "command"
    command = fields.node("command")
    for field_name, needed, what in _NEEDS:
        node = fields.node(field_name)
        if node is not None and needed not in kind.takes and node.value not in ({}, "", []):
            fields.problem(field_name, f'executor type "{shown}" does not support {what}', _advice(field_name, kind))
    selector = fields.node("workerSelector")
    if kind.stays and selector is not None and selector.value not in ({}, "", "local"):
        advice = "it runs where its run does; remove workerSelector"
        message = f'executor type "{shown}" does not support workerSelector field'
        fields.problem("workerSelector", message, advice)
    is_several = command is not None and isinstance(command.value, list) and len(command.value) > 1
    if is_several and "command" in kind.takes and "several" not in kind.takes:
        message = f'executor type "{shown}" only supports a single command'
        fields.problem("command", f"executor does not support multiple commands: {message}")


def _advice(field_name: str, kind: StepType) -> str:
    if kind is CALL_TYPE:
        return "a step that calls a DAG runs nothing itself"
    return "use type: chat" if field_name == "messages" else ""
