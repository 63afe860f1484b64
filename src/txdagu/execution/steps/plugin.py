"""Step types by the names of the coroutine functions that execute them: nothing is imported before a step needs it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from txdagu.execution.steps.interfaces import IPlugin, IStepType, StepTraits
from txdagu.model.errors import DaguError

__all__ = ["StepTraits", "StepType"]

if TYPE_CHECKING:
    from txdagu.execution.plan import StepEnd
    from txdagu.execution.steps.context import StepContext


@implementer(IPlugin, IStepType)
class StepType:
    """
    A step type for the `names`; `target` is ``package.module:function``, called with a `StepContext`.

    One line in a module of ``twisted/plugins`` makes it known::

        greet = StepType("greet", target="acme_steps.greet:run", traits=StepTraits(command=True))
    """

    def __init__(self, *names: str, target: str, traits: StepTraits) -> None:
        self.names = names
        self.traits = traits
        self._target = target

    @property
    def ours(self) -> bool:
        """Whether it belongs to this package; nobody else can take its names."""
        return self._target.startswith("txdagu.")

    async def run(self, context: StepContext) -> StepEnd:
        """Import the function, in a thread, and call it. `DaguError` says what is missing where that fails."""
        function = await context.tools.in_thread(self._load)
        end: StepEnd = await function(context)
        return end

    def _load(self) -> Any:
        module, _, name = self._target.partition(":")
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise DaguError(f"the step type {self.names[0]} cannot be loaded from {self._target}: {error}") from error
