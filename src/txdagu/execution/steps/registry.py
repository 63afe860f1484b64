"""Which step type a name stands for: those of our own, and whatever else is installed as a plugin."""

from __future__ import annotations

from txdagu.execution.steps.interfaces import IStepType
from txdagu.model.errors import DaguError

_found: dict[str, IStepType] = {}


class UnregisteredTypeError(DaguError):
    """Nobody provides a step type of that name here."""


def find_step_type(name: str) -> IStepType:
    """
    The plugin for that name. Blocks: modules of plugins are looked for and imported. What was found is remembered.

    Names that come with us cannot be taken by others; of two others the first wins. Raises `UnregisteredTypeError`.
    """
    if name not in _found:
        for step_type in _installed():
            for own in step_type.names:
                _found.setdefault(own, step_type)
    try:
        return _found[name]
    except KeyError:
        known = ", ".join(sorted({*_found, "command", "shell", "dag", "subworkflow"}))
        raise UnregisteredTypeError(
            f'executor type "{name}" is not registered: known here are {known}; install the package that provides it'
        ) from None


def _installed() -> list[IStepType]:
    """All providers, our own first."""
    from twisted.plugin import getPlugins

    from txdagu.execution.steps.plugin import StepType

    types: list[IStepType] = list(getPlugins(IStepType))
    own = [found for found in types if isinstance(found, StepType) and found.ours]
    return own + [found for found in types if found not in own]
