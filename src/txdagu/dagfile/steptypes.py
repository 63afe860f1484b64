"""Whether a step has only fields that its type supports."""

from __future__ import annotations

from txdagu.dagfile.fields import Fields
from txdagu.dagfile.report import Report
from txdagu.model.dag import Step
from txdagu.model.steptypes import BUILT_IN


def check_traits(step: Step, fields: Fields, report: Report) -> None:
    """
    Report the fields that the step's type does not support.

    A type that is not one of ours may be a plugin on the machine that will run the step: what it supports is checked there.
    """
    traits = BUILT_IN.get(step.type)
    if traits is None:
        return
    for key, supported, what in (
        ("command", traits.command, "command field"),
        ("script", traits.script, "script field"),
        ("shell", traits.shell, "shell configuration"),
    ):
        node = fields.node(key)
        if node is not None and not supported:
            report.field(key, f'executor type "{step.type}" does not support {what}', node)
    if len(step.commands) > 1 and traits.command and not traits.several_commands:
        message = f'executor type "{step.type}" only supports a single command'
        report.field("command", message, fields.node("command") or fields.place)
