"""The outside of a run core, for tests and simulations: it answers only when it is told to, in a time of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from txdagu.execution.plan import (
    CheckConditions,
    Effect,
    EvaluateRetry,
    FinishRun,
    RunCore,
    RunHandler,
    SearchLog,
    StartStep,
    StepEnd,
    StepSettled,
    StopStep,
    Target,
    Verdict,
    WakeAt,
)
from txdagu.model.dag import Dag, Handler
from txdagu.model.run import NodeStatus
from txdagu.model.status import NodeState, RunState

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
Question = CheckConditions | EvaluateRetry | StartStep | RunHandler | SearchLog


class PlanDriver:
    """
    Drives a `RunCore` through one run of `dag`, which has begun; `previous` and `only` make it a retry.

    `open` holds what the core waits for, by name of step (``dag`` for the DAG's conditions); `started` the names of all
    executions in order; `settled` the names of what is over; `stops` what was asked to end, as (name, signal, force);
    `finished` all ends that were told.
    """

    def __init__(self, dag: Dag, previous: Iterable[NodeStatus] = (), only: str = "", *, resumes: bool = False) -> None:
        self.core = RunCore(dag, previous, only, resumes=resumes)
        self.now = BEGINNING
        self.open: dict[str, Question] = {}
        self.started: list[str] = []
        self.settled: list[str] = []
        self.stops: list[tuple[str, str, bool]] = []
        self.finished: list[FinishRun] = []
        self._targets: dict[str, Target | None] = {"dag": None}
        self._targets.update({step.name: index for index, step in enumerate(dag.steps)})
        self._targets.update({step.name: handler for handler, step in dag.handlers.items()})
        self._names = {target: name for name, target in self._targets.items()}
        self._wake: datetime | None = None
        self.take(self.core.start(self.now))

    @property
    def seconds(self) -> float:
        """How much time has passed."""
        return (self.now - BEGINNING).total_seconds()

    @property
    def state(self) -> RunState | None:
        """The state in which the run ended, None before."""
        return self.finished[-1].state if self.finished else None

    def node(self, name: str) -> NodeStatus:
        """The node of a step or handler."""
        return self.core.node(self._target(name))

    def states(self) -> dict[str, NodeState]:
        """The states of all steps, and of the handlers that had their turn."""
        nodes = [*self.core.nodes, *(node for node in self.core.handlers.values() if node.state)]
        return {node.step.name: node.state for node in nodes}

    def take(self, effects: Sequence[Effect]) -> None:
        """Note effects."""
        for effect in effects:
            match effect:
                case StopStep(target, signal, force):
                    self.stops.append((self._names[target], signal, force))
                case StepSettled(target):
                    self.settled.append(self._names[target])
                    self.open.pop(self._names[target], None)
                case WakeAt(at):
                    self._wake = at
                case FinishRun():
                    self.finished.append(effect)
                case _:
                    name = self._names[effect.target]
                    self.open[name] = effect
                    if isinstance(effect, StartStep | RunHandler):
                        self.started.append(name)

    def end(self, name: str, state: NodeState = NodeState.SUCCEEDED, code: int = 0, error: str = "") -> None:
        """The execution of a step or handler ends like this."""
        del self.open[name]
        code = code or int(state is NodeState.FAILED)
        self.take(self.core.step_ended(self._target(name), StepEnd(state, error, exit_code=code), self.now))

    def fail(self, name: str, code: int = 1) -> None:
        """The execution of a step or handler fails."""
        self.end(name, NodeState.FAILED, code, f"exit status {code}")

    def verdicts(self, name: str, *met: bool, broken: bool = False) -> None:
        """Conditions are met or not; ``dag`` names those of the DAG."""
        del self.open[name]
        verdicts = [Verdict(answer, "" if answer else "not met", broken and not answer) for answer in met]
        self.take(self.core.conditions_checked(self._targets[name], verdicts, self.now))

    def retry_texts(self, name: str, limit: int, interval: int) -> None:
        """The texts of a retry policy are these numbers."""
        del self.open[name]
        self.take(self.core.retry_evaluated(self._step(name), limit, interval, self.now))

    def search(self, name: str, found: bool) -> None:
        """The log of a step was searched."""
        del self.open[name]
        self.take(self.core.log_searched(self._step(name), found, self.now))

    def advance(self, seconds: float) -> None:
        """Let time pass; the core is woken whenever it wanted to be."""
        until = self.now + timedelta(seconds=seconds)
        while self._wake is not None and self._wake <= until and not self.finished:
            self.now, self._wake = max(self.now, self._wake), None
            self.take(self.core.woken(self.now))
        self.now = until

    def cancel(self, signal: str = "") -> None:
        """Somebody wants the end."""
        self.take(self.core.cancel(self.now, signal))

    def hand_back(self) -> None:
        """Somebody else shall go on."""
        self.take(self.core.hand_back(self.now))

    def escalate(self) -> None:
        """Somebody wants the end at once."""
        self.take(self.core.escalate(self.now))

    def _target(self, name: str) -> Target:
        target = self._targets[name]
        if target is None:
            raise KeyError(name)
        return target

    def _step(self, name: str) -> int:
        target = self._target(name)
        if isinstance(target, Handler):
            raise KeyError(name)
        return target
