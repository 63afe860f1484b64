"""What a step has to work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from txdagu.execution import files
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.groups import run_group
from txdagu.execution.interfaces import ExitStatus, IProcessRunner, ProcessSpec
from txdagu.execution.request import RunRequest
from txdagu.execution.slot import SharedSlot, SlotUse
from txdagu.execution.steps.config import Config, evaluated
from txdagu.execution.stop import Stop
from txdagu.model.dag import Dag, Step
from txdagu.model.run import ChildRun, RunStatus
from txdagu.peers.interfaces import ICoordinators
from txdagu.store.interfaces import IRunStore, StepLogs
from txdagu.system.threads import InThread


class ChildHandle(Protocol):
    """A run in the same process, as the step that called it sees it."""

    def cancel(self, reason: str) -> None:
        """Ask for its end."""

    def kill(self) -> None:
        """Make it end."""

    def wait(self) -> Awaitable[RunStatus]:
        """Its final state."""


@dataclass(frozen=True)
class Tools:
    """What all runs of an engine share; told at `engine.Engine`. `start` starts a run here, in the slot of its caller."""

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


@dataclass(frozen=True)
class StepContext:
    """
    One execution of one step.

    `directory` is where it works, and exists. `environment` is that of its processes; `call_environment` is what a child in this
    process inherits for evaluating its own ``env`` and ``params``. `called` notes a child in the run's status. `params` are the
    run's, evaluated.
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
    params: Mapping[str, str]

    @property
    def dag(self) -> Dag:
        """The DAG whose step this is."""
        return self.request.dag

    async def config(self) -> Config:
        """The step's options, every text in them evaluated."""
        return Config(self.step.type, await evaluated(self.step.config, self.evaluator))

    async def print(self, text: str) -> None:
        """Append to the log of the step's standard output."""
        await self.print_bytes(text.encode("utf-8", "surrogateescape"))

    async def print_bytes(self, data: bytes) -> None:
        """Append bytes to the log of the step's standard output, as they are."""
        await self.tools.in_thread(partial(files.append_bytes, self.logs.stdout, data))

    async def print_error(self, text: str) -> None:
        """Append to the log of the step's standard error."""
        data = text.encode("utf-8", "surrogateescape")
        await self.tools.in_thread(partial(files.append_bytes, self.logs.stderr, data))

    async def run_program(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> ExitStatus:
        """
        Run a program in the step's directory, its output in the step's logs, until it and, if it was stopped, all of its
        group have ended. `env` is the whole environment where it is not the step's.
        """
        spec = ProcessSpec(
            tuple(argv),
            self.directory,
            self.environment if env is None else env,
            self.logs.stdout,
            self.logs.stderr,
            append=True,
        )
        return await run_group(self.tools.processes, spec, self.stop, self.tools.clock)
