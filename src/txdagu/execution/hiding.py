"""The states of a run as others may see them: without its secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from txdagu.execution.evaluation.masking import Masker, Sealed
from txdagu.model.conditions import Condition
from txdagu.model.dag import Handler, Step
from txdagu.model.run import ChildRun, Decision, NodeStatus


class HiddenSecrets:
    """
    Masks nodes. A node that is the very object of the time before gives the very result of then, so that who keeps what he
    made of it may go on keeping it.

    Outputs are told twice: with stars, and sealed, so that a later attempt that has the secrets again knows their values.
    """

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._known: dict[int | Handler, tuple[NodeStatus, NodeStatus]] = {}

    def nodes(self, nodes: Sequence[NodeStatus]) -> tuple[NodeStatus, ...]:
        """All nodes with stars."""
        return tuple(self._node(index, node) for index, node in enumerate(nodes)) if self._masker else tuple(nodes)

    def handlers(self, nodes: Mapping[Handler, NodeStatus]) -> Mapping[Handler, NodeStatus]:
        """All nodes of handlers with stars."""
        return {handler: self._node(handler, node) for handler, node in nodes.items()} if self._masker else nodes

    def conditions(self, conditions: Sequence[Condition]) -> tuple[Condition, ...]:
        """Conditions with stars in what they say of their values."""
        return tuple(replace(one, error=self._masker.text(one.error)) for one in conditions)

    def text(self, text: str) -> str:
        """An error or a reason with stars."""
        return self._masker.text(text)

    def _node(self, key: int | Handler, node: NodeStatus) -> NodeStatus:
        known = self._known.get(key)
        if known is not None and known[0] is node:
            return known[1]
        text = self._masker.text
        sealed: dict[str, Sealed] = dict(node.sealed_outputs)
        for name, value in node.outputs.items():
            pieces = self._masker.seal(value)
            if pieces is not None:
                sealed[name] = pieces
        hidden = replace(
            node,
            step=self._step(node.step),
            error=text(node.error),
            children=self._children(node.children),
            children_repeated=self._children(node.children_repeated),
            outputs={name: text(value) for name, value in node.outputs.items()},
            sealed_outputs=sealed,
            decision=self._decision(node.decision),
        )
        hidden = node if hidden == node else hidden
        self._known[key] = (node, hidden)
        return hidden

    def _decision(self, decision: Decision | None) -> Decision | None:
        if decision is None:
            return None
        inputs = {name: self._masker.text(value) for name, value in decision.inputs.items()}
        return replace(decision, inputs=inputs, reason=self._masker.text(decision.reason))

    def _children(self, children: Sequence[ChildRun]) -> tuple[ChildRun, ...]:
        return tuple(ChildRun(child.run_id, self._masker.text(child.params)) for child in children)

    def _step(self, step: Step) -> Step:
        """The step as evaluated so far: values are pasted into its texts."""
        text = self._masker.text
        return replace(
            step,
            commands=tuple(
                replace(
                    command, text=text(command.text), program=text(command.program), args=tuple(map(text, command.args))
                )
                for command in step.commands
            ),
            script=text(step.script),
            config={key: self._values(value) for key, value in step.config.items()},
            preconditions=self.conditions(step.preconditions),
            stdout=text(step.stdout),
            stderr=text(step.stderr),
            child=replace(step.child, params=text(step.child.params)) if step.child is not None else None,
        )

    def _values(self, value: Any) -> Any:
        """An option of a step type, whatever it is made of."""
        if isinstance(value, str):
            return self._masker.text(value)
        if isinstance(value, Mapping):
            return {key: self._values(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._values(item) for item in value]
        return value


def known_outputs(node: NodeStatus, masker: Masker) -> Mapping[str, str]:
    """The outputs of a node that an earlier attempt has told, with the values of its secrets."""
    if not node.sealed_outputs:
        return node.outputs
    unsealed = {name: masker.unseal(pieces) for name, pieces in node.sealed_outputs.items() if name in node.outputs}
    return {**node.outputs, **unsealed}
