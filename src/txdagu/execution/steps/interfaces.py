"""
What a step type is.

This module is imported whenever Twisted reads its cache of plugins; it stays light.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from txdagu.execution.plan import StepEnd
    from txdagu.execution.steps.context import StepContext

__all__ = ["IPlugin", "IStepType", "StepTraits"]


@dataclass(frozen=True, slots=True)
class StepTraits:
    """
    Which fields of a step its type takes; a step with others fails.

    `command`, `script`, `shell` and `container` are the fields of that name; `several_commands` allows a list of commands.
    """

    command: bool = False
    several_commands: bool = False
    script: bool = False
    shell: bool = False
    container: bool = False


class IStepType(Interface):
    """
    Executes the steps whose ``type`` is one of its names.

    Providers that are `IPlugin` as well and stand in a module of ``twisted/plugins`` are found by themselves;
    `txdagu.execution.steps.plugin.StepType` is one that imports the rest only when a step needs it.
    """

    names = Attribute("Tuple of the texts that select this type.")
    traits = Attribute("`StepTraits`: the fields that its steps may have.")

    def run(context: StepContext) -> Awaitable[StepEnd]:
        """
        Execute one step, and say how it ended. Called on the reactor's thread, once for each attempt.

        What the step prints goes to its log files, through `StepContext.print` or a process of `StepContext.run_program`; if it
        has an ``output``, that is taken from there afterwards unless it is among the outputs of the `StepEnd`. A `DaguError`
        fails the step with its text. `StopRequested`, as `StepContext.stop` raises it, ends it as aborted.
        """
