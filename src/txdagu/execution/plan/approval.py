"""Steps that wait for a person: what they ask, and what the person's word makes of the run's state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from txdagu.execution.plan.settling import VERDICTS
from txdagu.model.errors import DaguError, InvalidInputError, NotFoundError, Problem
from txdagu.model.run import Decision, NodeStatus, RunRef, RunStatus
from txdagu.model.scalars import scalar_text
from txdagu.model.status import NodeState, RunState


class NotWaitingError(DaguError):
    """Nobody is asked there: the step or its run does not wait, or was decided on already."""

    http_status = 400


@dataclass(frozen=True, slots=True)
class Question:
    """What a step asks: its prompt, the inputs that an approval may bring, and those of them that it must bring."""

    prompt: str = ""
    inputs: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    def check(self, given: Mapping[str, str]) -> None:
        """Raise `InvalidInputError` with all that is missing from what was given, and all that was not asked for."""
        missing = [name for name in self.required if not given.get(name)]
        unknown = [name for name in given if name not in self.inputs and name not in self.required]
        problems = []
        if missing:
            problems.append(Problem(f"missing required inputs: [{' '.join(missing)}]"))
        if unknown:
            asked = f"the step asks for {', '.join(self.inputs)}" if self.inputs else "the step asks for none"
            problems.append(Problem(f"unknown inputs: [{' '.join(unknown)}]", advice=asked))
        if problems:
            raise InvalidInputError(problems)


@dataclass(frozen=True, slots=True)
class Wait:
    """A step that waits for a person, the run it belongs to, and what it asks."""

    run: RunRef
    node: NodeStatus

    @property
    def question(self) -> Question:
        """What it asks."""
        return question_of(self.node)


def question_of(node: NodeStatus) -> Question:
    """What a step asks, by its options as evaluated; whoever wrote the record."""
    options = {key.lower(): value for key, value in node.step.config.items()}
    return Question(
        scalar_text(options.get("prompt", "")), _texts(options.get("input")), _texts(options.get("required"))
    )


def waits_of(status: RunStatus, below: Mapping[str, RunStatus]) -> Iterator[Wait]:
    """The steps that wait for a person: of a run and of those it called, which are in `below` by their ids; in their order."""
    if status.state is not RunState.WAITING:
        return
    for node in status.nodes:
        if node.state is not NodeState.WAITING:
            continue
        if node.step.child is None:
            yield Wait(status.run, node)
        for child in node.children:
            if child.run_id in below:
                yield from waits_of(below[child.run_id], below)


def approved(status: RunStatus, step: str, inputs: Mapping[str, str], by: str, at: datetime) -> RunStatus:
    """
    The run with that step approved: it succeeded, and its inputs are variables for the steps after it.

    Raises `NotFoundError`, `NotWaitingError`, and `InvalidInputError` for inputs that do not fit.
    """
    node = _waiting(status, step)
    question_of(node).check(inputs)
    decision = Decision(True, at, by, dict(inputs))
    done = replace(node, state=NodeState.SUCCEEDED, decision=decision, outputs={**node.outputs, **inputs})
    return replace(status, nodes=tuple(done if other is node else other for other in status.nodes))


def rejected(status: RunStatus, step: str, reason: str, by: str, at: datetime) -> RunStatus:
    """
    The run with that step rejected, which ends it; what depends on the step never starts.

    Raises `NotFoundError` and `NotWaitingError`.
    """
    node = _waiting(status, step)
    refused = replace(node, state=NodeState.REJECTED, decision=Decision(False, at, by, reason=reason))
    nodes = _spread([refused if other is node else other for other in status.nodes], refused, at)
    return replace(status, state=RunState.REJECTED, nodes=tuple(nodes), finished_at=at)


def _waiting(status: RunStatus, step: str) -> NodeStatus:
    """The node of a step that waits for a person."""
    node = next((node for node in status.nodes if node.step.name == step), None)
    if node is None:
        raise NotFoundError(f"step {step} not found in DAG {status.run.name}")
    if node.state is not NodeState.WAITING:
        raise NotWaitingError(f"step {step} is not waiting for approval (status: {node.state.label}{_since(node)})")
    if node.step.child is not None:
        called = ", ".join(child.run_id for child in node.children)
        raise NotWaitingError(
            f"step {step} waits for the run that it called ({called}): decide on the step that waits there"
        )
    if status.state is not RunState.WAITING:
        raise NotWaitingError(
            f"run {status.run} is {status.state.label}: a step can be decided on once the run waits for nothing else"
            if status.state.active
            else f"run {status.run} is {status.state.label}: nothing waits in it any more"
        )
    return node


def _since(node: NodeStatus) -> str:
    decision = node.decision
    if decision is None or decision.at is None:
        return ""
    by = f" by {decision.by}" if decision.by else ""
    return f", {'approved' if decision.approved else 'rejected'}{by} at {decision.at.isoformat(timespec='seconds')}"


def _spread(nodes: Sequence[NodeStatus], refused: NodeStatus, at: datetime) -> list[NodeStatus]:
    """What follows for the steps that have not started, as far as they depend on the one that was refused."""
    spread = {refused.step.name: refused}
    result = list(nodes)
    changed = True
    while changed:
        changed = False
        for index, node in enumerate(result):
            cause = next((spread[name] for name in node.step.depends if name in spread), None)
            if node.state is NodeState.NOT_STARTED and cause is not None:
                state, error = VERDICTS[cause.state]
                result[index] = spread[node.step.name] = replace(node, state=state, error=error, finished_at=at)
                changed = True
    return result


def _texts(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return tuple(scalar_text(item) for item in items)
