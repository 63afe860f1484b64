"""The list of steps, or the mapping of steps by name: positions with one step or a parallel group each."""

from __future__ import annotations

from txdagu.dagfile.commands import read_command
from txdagu.dagfile.fields import Fields, type_name
from txdagu.dagfile.order import Draft
from txdagu.dagfile.report import Report
from txdagu.dagfile.stepfields import Surroundings, read_step
from txdagu.model.dag import Step
from txdagu.yamltree import Node


def read_steps(fields: Fields, around: Surroundings) -> list[list[Draft]]:
    """The steps by position: a list inside the list is one position with several steps."""
    node, report = fields.node("steps"), fields.report
    if node is None:
        return []
    if isinstance(node.value, dict):
        return [[_named_draft(name, node, around, report)] for name in node.value]
    if not isinstance(node.value, list):
        fields.problem("steps", f"steps must be an array or a map, got {type_name(node)}", "begin each step with '- '")
        return []
    return [
        [_draft(step, around, report) for step in (item.value if isinstance(item.value, list) else [item])]
        for item in node.value
    ]


def _named_draft(name: str, steps: Node, around: Surroundings, report: Report) -> Draft:
    """A step of the map form, in which the key is the name."""
    assert isinstance(steps.value, dict)
    node, position = steps.value[name], steps.keys[name]
    if not isinstance(node.value, dict):
        report.add(f"invalid step data: {type_name(node)}", node, "write the step's fields below its name")
        return Draft(Step(name), node, position)
    draft = _draft(node, around, report)
    if draft.step.name not in ("", name):
        report.field(
            "name", f"the step is already named {name!r} by its key (value: {draft.step.name})", draft.name_place
        )
    draft.name, draft.name_place = name.strip(), position
    return draft


def _draft(node: Node, around: Surroundings, report: Report) -> Draft:
    if isinstance(node.value, str):
        commands, script = read_command(node, report)
        step = Step("", commands=commands, script=script, type=around.step_type)
        return Draft(step, node, node, prefix=around.step_type or ("script" if script else "cmd"))
    if not isinstance(node.value, dict):
        report.add(f"invalid step data: {type_name(node)}", node, "write a command, or a step's fields")
        return Draft(Step(""), node, node, prefix="step")
    return read_step(node, around, report)
