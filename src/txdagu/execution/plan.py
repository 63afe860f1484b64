"""
The run core: which step starts when, and what becomes of the run.

It is told what happened (`start`, `step_ended`, `cancel`, `escalate`) with the time, and answers with what to do next, in
order. Dependencies are counted down, never searched again: the whole run costs O(steps + edges), plus a heap that keeps
ready steps in the order of the list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from heapq import heappop, heappush

from txdagu.model.dag import Step
from txdagu.model.errors import InvalidInputError, Problem
from txdagu.model.run import ChildRun, NodeStatus
from txdagu.model.status import NodeState, RunState

KEPT = frozenset({NodeState.SUCCEEDED, NodeState.SKIPPED, NodeState.PARTIALLY_SUCCEEDED})
_FAVOURABLE = frozenset({NodeState.SUCCEEDED, NodeState.PARTIALLY_SUCCEEDED})
_VERDICTS: Mapping[NodeState, tuple[NodeState, str]] = {
    NodeState.FAILED: (NodeState.ABORTED, "upstream failed"),
    NodeState.SKIPPED: (NodeState.SKIPPED, "upstream skipped"),
    NodeState.ABORTED: (NodeState.ABORTED, ""),
    NodeState.REJECTED: (NodeState.ABORTED, "upstream rejected"),
}


@dataclass(frozen=True, slots=True)
class StartStep:
    """Execute this step now."""

    index: int
    step: Step


@dataclass(frozen=True, slots=True)
class StopStep:
    """Ask this running step to end; with `force`, make it."""

    index: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class FinishRun:
    """Nothing is left to do; the run ended in this state."""

    state: RunState


Effect = StartStep | StopStep | FinishRun


@dataclass(frozen=True, slots=True)
class StepEnd:
    """How the execution of a step ended. `step` is as evaluated, if that is known; `exit_code` what ``${id.exitCode}`` says."""

    state: NodeState
    error: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    step: Step | None = None
    exit_code: int = 0


def _node_problems(steps: Sequence[Step], index_of: Mapping[str, int]) -> list[Problem]:
    problems = [
        Problem(f"step {step.name} depends on non-existent step {name}")
        for step in steps
        for name in step.depends
        if name not in index_of
    ]
    problems += [
        Problem("step name must be unique", step.name)
        for position, step in enumerate(steps)
        if index_of[step.name] != position
    ]
    return problems


class RunCore:
    """
    State of one run. `order` are the indexes of all steps, each after its dependencies.

    Raises `InvalidInputError` for unknown dependencies, names given twice, and cycles.

    `previous` are the nodes of the attempt that a retry continues: those that ended well (succeeded, skipped, partially
    succeeded) are kept, unless one of their dependencies has to run again; all others start anew.
    """

    def __init__(self, steps: Sequence[Step], max_active_steps: int = 0, previous: Iterable[NodeStatus] = ()) -> None:
        index_of = {step.name: position for position, step in enumerate(steps)}
        if problems := _node_problems(steps, index_of):
            raise InvalidInputError(problems)
        self.cancelled = False
        self._limit = max_active_steps
        self._dependencies = [tuple(dict.fromkeys(index_of[name] for name in step.depends)) for step in steps]
        self._dependants: list[list[int]] = [[] for _ in steps]
        for index, dependencies in enumerate(self._dependencies):
            for dependency in dependencies:
                self._dependants[dependency].append(index)
        self._open = [len(dependencies) for dependencies in self._dependencies]
        self._nodes = [NodeStatus(step) for step in steps]
        self.order = self._sorted()
        self._keep(previous, self.order)
        self._counts = Counter(node.state for node in self._nodes)
        self._ready: list[int] = []
        self._running: set[int] = set()
        self._finished = False

    def _sorted(self) -> list[int]:
        """All steps, each after its dependencies."""
        missing = list(self._open)
        order = [index for index, count in enumerate(missing) if count == 0]
        for index in order:  # grows while it is walked
            for dependant in self._dependants[index]:
                missing[dependant] -= 1
                if missing[dependant] == 0:
                    order.append(dependant)
        if len(order) < len(self._nodes):
            names = ", ".join(self._nodes[index].step.name for index, count in enumerate(missing) if count)
            raise InvalidInputError([Problem(f"steps wait for each other in a circle: {names}")])
        return order

    def _keep(self, previous: Iterable[NodeStatus], order: Iterable[int]) -> None:
        finished = {node.step.name: node for node in previous if node.state in KEPT}
        if not finished:
            return
        for index in order:
            node = finished.get(self._nodes[index].step.name)
            if node is not None and all(self._nodes[other].state in KEPT for other in self._dependencies[index]):
                self._nodes[index] = node

    @property
    def nodes(self) -> tuple[NodeStatus, ...]:
        """The nodes of all steps, in the order of the list."""
        return tuple(self._nodes)

    @property
    def running(self) -> frozenset[int]:
        """Which steps are being executed."""
        return frozenset(self._running)

    @property
    def finished(self) -> bool:
        """Whether `FinishRun` was said."""
        return self._finished

    def node(self, index: int) -> NodeStatus:
        """The node of one step."""
        return self._nodes[index]

    def dependencies(self, index: int) -> tuple[int, ...]:
        """The steps on which a step depends directly, in the order it names them."""
        return self._dependencies[index]

    @property
    def state(self) -> RunState:
        """The state of the run now; the first rule that fits."""
        counts = self._counts
        well = sum(counts[state] for state in KEPT)
        if self.cancelled and well < len(self._nodes):
            return RunState.ABORTED
        if self._running or not self._finished:
            return RunState.RUNNING
        if counts[NodeState.REJECTED]:
            return RunState.REJECTED
        if counts[NodeState.WAITING]:
            return RunState.WAITING
        if counts[NodeState.FAILED] or counts[NodeState.ABORTED]:
            return RunState.FAILED
        if counts[NodeState.PARTIALLY_SUCCEEDED]:
            return RunState.PARTIALLY_SUCCEEDED
        return RunState.SUCCEEDED

    def start(self, now: datetime) -> list[Effect]:
        """Begin: settle what kept nodes decide, start what is free."""
        for index, count in enumerate(self._open):
            if count == 0 and self._nodes[index].state is NodeState.NOT_STARTED:
                heappush(self._ready, index)
        for index in [index for index, node in enumerate(self._nodes) if node.state in KEPT]:
            self._spread(index, now)
        return self._next(now)

    def step_started(self, index: int, stdout: str, stderr: str) -> None:
        """Note where a started step's output goes."""
        self._nodes[index] = replace(self._nodes[index], stdout=stdout, stderr=stderr)

    def step_calls(self, index: int, child: ChildRun) -> None:
        """Note the run that a step has started."""
        self._nodes[index] = replace(self._nodes[index], children=(*self._nodes[index].children, child))

    def step_ended(self, index: int, end: StepEnd, now: datetime) -> list[Effect]:
        """
        Settle a running step and what hangs on it.

        While the run is being stopped every end counts as aborted, also a good one: the step was told to stop, and nobody
        knows how far it came.
        """
        self._running.discard(index)
        node = self._nodes[index]
        state = NodeState.ABORTED if self.cancelled else end.state
        self._settle(
            index,
            replace(
                node,
                step=end.step or node.step,
                state=state,
                error=end.error,
                outputs=dict(end.outputs),
                finished_at=now,
                done_count=node.done_count + 1,
            ),
        )
        if not self.cancelled and state.settled:
            self._spread(index, now)
        return self._next(now)

    def cancel(self, now: datetime) -> list[Effect]:
        """Stop: nothing more starts, running steps are asked to end, the rest stays as it is. Only the first call counts."""
        if self.cancelled or self._finished:
            return []
        self.cancelled = True
        self._ready.clear()
        return [*(StopStep(index) for index in sorted(self._running)), *self._next(now)]

    def escalate(self) -> list[Effect]:
        """The time to clean up is over: running steps are made to end."""
        return [StopStep(index, force=True) for index in sorted(self._running)]

    def _settle(self, index: int, node: NodeStatus) -> None:
        self._counts[self._nodes[index].state] -= 1
        self._counts[node.state] += 1
        self._nodes[index] = node

    def _spread(self, settled: int, now: datetime) -> None:
        """Tell the dependants of a settled step, and theirs, what follows for them."""
        pending = [settled]
        while pending:
            index = pending.pop()
            state = self._nodes[index].state
            for dependant in self._dependants[index]:
                self._open[dependant] -= 1
                node = self._nodes[dependant]
                if node.state is not NodeState.NOT_STARTED:
                    continue
                if state in _FAVOURABLE:
                    if self._open[dependant] == 0:
                        heappush(self._ready, dependant)
                    continue
                verdict, error = _VERDICTS[state]
                self._settle(dependant, replace(node, state=verdict, error=error, finished_at=now))
                pending.append(dependant)

    def _next(self, now: datetime) -> list[Effect]:
        effects: list[Effect] = []
        while self._ready and (self._limit <= 0 or len(self._running) < self._limit):
            index = heappop(self._ready)
            node = self._nodes[index]
            self._settle(
                index,
                replace(node, state=NodeState.RUNNING, started_at=now, finished_at=None, error="", children=()),
            )
            self._running.add(index)
            effects.append(StartStep(index, node.step))
        if not self._running and not self._finished:
            self._finished = True
            effects.append(FinishRun(self.state))
        return effects
