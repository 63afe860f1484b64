"""Preconditions: a text, a mapping, or a list of these."""

from __future__ import annotations

from txdagu.dagfile.fields import Field, Fields, Level, nearest
from txdagu.dagfile.report import Report
from txdagu.dagfile.shapes import SWITCH, TEXT, either
from txdagu.model.conditions import Condition
from txdagu.yamltree import Node

CONDITION = Level(
    "condition",
    "condition",
    (
        Field("condition", TEXT, "A command that must end with 0, or, with `expected`, a text to compare."),
        Field("command", TEXT, "The same as `condition`.", era="to 1.17", now="condition"),
        Field("expected", TEXT, "What a line of the text must equal; after `re:`, a regular expression."),
        Field("negate", SWITCH, "The condition holds if the test fails.", False),
    ),
    unknown="precondition has invalid key: {}",
)
_ONE = either(TEXT, CONDITION.reference)
CONDITIONS = either(_ONE, {"type": "array", "items": either(_ONE, {"type": "array"})})


def read_conditions(fields: Fields) -> tuple[Condition, ...]:
    """Those of ``preconditions``, then those of the older ``precondition``."""
    return tuple(
        condition
        for name in ("preconditions", "precondition")
        if (node := fields.node(name)) is not None
        for condition in _conditions(node, fields.path + name, fields.report)
    )


def _conditions(node: Node, field: str, report: Report) -> list[Condition]:
    if isinstance(node.value, list):
        return [condition for item in node.value for condition in _conditions(item, field, report)]
    if isinstance(node.value, dict):
        return _of_map(node, field, report)
    if isinstance(node.value, str):
        return [Condition(node.value.strip())] if node.value.strip() else []
    report.field(field, "precondition must be a string or an array of strings", node, "write a command, or condition:")
    return []


def _of_map(node: Node, field: str, report: Report) -> list[Condition]:
    assert isinstance(node.value, dict)
    texts = {"condition": "", "command": "", "expected": ""}
    negate = False
    problem = False
    for key, value in node.value.items():
        definition = CONDITION.field_of(key)
        if definition is None:
            advice = nearest(key, [one.name for one in CONDITION.fields])
            report.field(field, f"precondition has invalid key: {key}", node.keys[key], advice)
        elif value.value is None:
            continue
        elif definition.name == "negate":
            if not isinstance(value.value, bool):
                report.field(field, "precondition negate must be a boolean", value, "write true or false")
            else:
                negate = value.value
        elif isinstance(value.value, str):
            texts[definition.name] = value.value
        else:
            problem = True
            report.field(field, "precondition value must be a string", value, f'write "{value.text}"')
    text = texts["condition"].strip() or texts["command"].strip()
    if not text and not problem:
        report.field(field, "condition is required", node, "add condition: with a command or a text")
    return [Condition(text, texts["expected"], negate)] if text else []
