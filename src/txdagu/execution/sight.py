"""What the steps of a run see of each other: captured outputs of ancestors, and facts by id."""

from __future__ import annotations

from collections.abc import Mapping

from txdagu.execution.evaluation.masking import Masker
from txdagu.execution.evaluation.outputs import Visible, extended, inherited
from txdagu.execution.evaluation.references import StepFacts
from txdagu.execution.hiding import known_outputs
from txdagu.execution.plan import RunCore, Target
from txdagu.execution.singlestep import StepInputs
from txdagu.model.dag import Handler
from txdagu.model.status import NodeState


class Sight:
    """
    Follows a `RunCore`. `facts` are those of all steps that have an id, with an exit code of 0 and no logs
    before they have run; `masker` knows the secrets that an
    earlier attempt sealed in its outputs. A single step of another run sees what is `given` of that, too.
    """

    def __init__(self, core: RunCore, masker: Masker, given: StepInputs | None = None) -> None:
        self.facts = dict(given.facts) if given is not None else {}
        self.facts.update((node.step.id, StepFacts()) for node in core.nodes if node.step.id)
        self._given: Mapping[str, str] = given.outputs if given is not None else {}
        self._core = core
        self._masker = masker
        self._visible: dict[int, Visible] = {}
        for index in core.order:
            if core.node(index).state is not NodeState.NOT_STARTED:  # kept from an earlier attempt
                self.learn(index)

    def learn(self, index: int) -> None:
        """A step has ended, for the first time or again; also one that was skipped: others may see past it."""
        node = self._core.node(index)
        self._visible[index] = extended(self._inherited(index), known_outputs(node, self._masker))
        if node.step.id:
            self.facts[node.step.id] = StepFacts(node.stdout, node.stderr, self._core.exit_code(index))

    def outputs_for(self, target: Target) -> Mapping[str, str]:
        """A step sees outputs of its ancestors, a handler those of all steps, a later one winning."""
        if not isinstance(target, Handler):
            return (
                {**self._given, **self._inherited(target).values()} if self._given else self._inherited(target).values()
            )
        return {name: value for node in self._core.nodes for name, value in known_outputs(node, self._masker).items()}

    def _inherited(self, index: int) -> Visible:
        """What a step can see; a dependency that never had its turn, since one before it was skipped, is seen past."""
        seen, open_ends = Visible(), [index]
        while open_ends:
            at = open_ends[-1]
            dependencies = self._core.dependencies(at)
            if unknown := [other for other in dependencies if other not in self._visible]:
                open_ends += unknown
                continue
            open_ends.pop()
            seen = inherited(self._visible[other] for other in dependencies)
            if at != index:
                self._visible[at] = seen
        return seen
