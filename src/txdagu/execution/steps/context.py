"""What a step has to work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.interfaces import INotifier, IProcessRunner
from txdagu.execution.request import RunRequest
from txdagu.execution.slot import SharedSlot, SlotUse
from txdagu.execution.stop import Stop
from txdagu.model.dag import Dag, Step
from txdagu.model.run import ChildRun, RunStatus
from txdagu.peers.interfaces import ICoordinators
from txdagu.store.interfaces import IRunStore, StepLogs
from txdagu.system.threads import InThread


class ChildHandle(Protocol):
    """A run in the same process, as the step that called it sees it."""

    def cancel(self, reason: str, signal: str = "") -> None:
        """Ask for its end; `signal` names one to pass on to its processes."""

    def kill(self) -> None:
        """Make it end."""

    def wait(self) -> Awaitable[RunStatus]:
        """Its final state."""


@dataclass(frozen=True)
class Tools:
    """
    What all runs of an engine share; told at `engine.Engine`. `start` starts a run here, in the slot of its caller; `notifier`
    is told how runs end.
    """

    store: IRunStore
    coordinators: ICoordinators | None
    processes: IProcessRunner
    clock: IReactorTime
    now: Callable[[], datetime]
    environ: Mapping[str, str]
    execution_mode: str
    find_dag: Callable[[str, str], Awaitable[Dag]]
    default_shell: str
    in_thread: InThread
    start: Callable[[RunRequest, SharedSlot], ChildHandle]
    notifier: INotifier | None


@dataclass(frozen=True)
class StepContext:
    """
    One execution of one step.

    `directory` is where it works, and exists. `environment` is that of its processes; `call_environment` is what a child in this
    process inherits for evaluating its own ``env`` and ``params``. `called` notes a child in the run's status.
    """

    request: RunRequest
    step: Step
    logs: StepLogs
    directory: str
    evaluator: Evaluator
    environment: Mapping[str, str]
    call_environment: Mapping[str, str]
    stop: Stop
    slot: SlotUse
    tools: Tools
    called: Callable[[ChildRun], None]

    @property
    def dag(self) -> Dag:
        """The DAG whose step this is."""
        return self.request.dag
