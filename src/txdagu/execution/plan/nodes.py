"""The nodes of a run's steps and handlers, and how many steps are in which state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from txdagu.execution.plan.effects import Target
from txdagu.execution.plan.settling import KEPT, was_excused
from txdagu.model.dag import Handler, Step
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState


class Nodes:
    """
    All nodes.

    `counts` has the steps by state, without those that an earlier attempt left aborted: they say nothing about this one.
    `excused` are the indexes of failed steps whose failure is excused.
    """

    def __init__(self, steps: Sequence[Step], handlers: Mapping[Handler, Step]) -> None:
        self.steps = [NodeStatus(step) for step in steps]
        self.handlers = {handler: NodeStatus(step) for handler, step in handlers.items()}
        self.counts = Counter({NodeState.NOT_STARTED: len(self.steps)})
        self.excused: set[int] = set()

    def __getitem__(self, target: Target) -> NodeStatus:
        """The node of a step or handler."""
        return self.handlers[target] if isinstance(target, Handler) else self.steps[target]

    def __setitem__(self, target: Target, node: NodeStatus) -> None:
        """Put another node in its place."""
        if isinstance(target, Handler):
            self.handlers[target] = node
            return
        self.counts[self.steps[target].state] -= 1
        self.counts[node.state] += 1
        self.steps[target] = node

    def keep(self, previous: Iterable[NodeStatus], order: Iterable[int], needs: Sequence[Iterable[int]]) -> None:
        """
        Take over what ended well in an earlier attempt: nodes that succeeded, were skipped or succeeded partially, unless one of
        those they need (`needs` by index) has to run again.
        """
        finished = {node.step.name: node for node in previous if node.state in KEPT}
        if not finished:
            return
        for index in order:
            node = finished.get(self.steps[index].step.name)
            if node is not None and all(self.steps[other].state in KEPT for other in needs[index]):
                self[index] = node

    def keep_all_but(self, name: str, previous: Iterable[NodeStatus], needs: Sequence[Iterable[int]]) -> None:
        """Take over everything that is over in an earlier attempt, however it ended, except the step of that name."""
        ended = {node.step.name: node for node in previous if node.state.settled and node.step.name != name}
        policies = [node.step.continue_on for node in self.steps]
        held_up: set[int] = set()
        for index, fresh in enumerate(self.steps):
            node = ended.get(fresh.step.name)
            if node is not None:
                self[index] = node
            if node is not None and node.state is NodeState.ABORTED:
                self.counts[NodeState.ABORTED] -= 1
                held_up.update(needs[index])
        for index, node in enumerate(self.steps):
            if node.state is NodeState.FAILED and was_excused(policies[index], node.error, index in held_up):
                self.excused.add(index)

    def resume(self, previous: Iterable[NodeStatus]) -> None:
        """
        Take over all that was settled when a run came to rest, failures too: it goes on where it stood, and is not tried again.

        Records of Dagu do not say which failures were excused; there the policy alone tells.
        """
        settled = {node.step.name: node for node in previous if node.state.settled}
        for index, fresh in enumerate(self.steps):
            node = settled.get(fresh.step.name)
            if node is None:
                continue
            self[index] = node
            if node.state is NodeState.FAILED and (node.excused or fresh.step.continue_on.failure):
                self.excused.add(index)

    @property
    def well(self) -> int:
        """How many steps ended well."""
        return sum(self.counts[state] for state in KEPT)
