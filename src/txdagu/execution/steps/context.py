"""What a step has to work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IReactorTime

from txdagu.execution import files
from txdagu.execution.conversations import Conversations
from txdagu.execution.evaluation.masking import Masker
from txdagu.execution.evaluation.stages import Evaluator
from txdagu.execution.groups import run_group
from txdagu.execution.guarding import Guard
from txdagu.execution.interfaces import ExitStatus, IProcessRunner, ProcessSpec, Tap
from txdagu.execution.request import RunRequest
from txdagu.execution.singlestep import StepInputs
from txdagu.execution.slot import SharedSlot, SlotUse
from txdagu.execution.steps.config import Config, evaluated
from txdagu.execution.steps.printing import StepPrinter
from txdagu.execution.stop import Stop
from txdagu.execution.tracing.export import Exports
from txdagu.model.dag import Dag, Step
from txdagu.model.run import ChildRun, RunStatus
from txdagu.peers.interfaces import ICoordinators
from txdagu.store.interfaces import IRunStore, StepLogs
from txdagu.system.threads import InThread

if TYPE_CHECKING:
    from txdagu.execution.containers.shared import RunContainer


class ChildHandle(Protocol):
    """A run in the same process, as the step that called it sees it."""

    def cancel(self, reason: str, signal: str = "") -> None:
        """Ask for its end; `signal` names one to pass on to its processes."""

    def hand_back(self, reason: str) -> None:
        """Ask it to stop, so that another worker can go on."""

    def kill(self) -> None:
        """Make it end."""

    def wait(self) -> Awaitable[RunStatus]:
        """Its final state."""


def _unheard(_: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Tools:
    """
    What all runs of an engine share; told at `engine.Engine`. `start` starts a run here, in the slot of its caller;
    `exports` sends the traces of runs that have ended; `guard` says whether something may be started now.
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
    exports: Exports
    guard: Guard


@dataclass(frozen=True)
class StepContext:
    """
    One execution of one step.

    `directory` is where it works, and exists. `environment` is that of its processes; `call_environment` is what a child in this
    process inherits for evaluating its own ``env`` and ``params``. `called` notes children in the run's status; `round_name`
    tells a round of a repeated step from all others of the run, and is empty for the first. `step.stdout` and `step.stderr` are
    absolute paths already. `masker` hides the run's secrets in all that is shown: programs' output goes through `tap`, where
    there is one, the step's own words through `printer`, which is closed by who made the context. `params` are the run's,
    evaluated, `conversations` those of its chat steps. `trace_parent` is its place in a trace, for runs that it calls. `inputs`
    is all that the step sees of the run. `container` is that of the DAG, where it has one. `waits` notes why nothing happens yet
    (an empty text: it goes on), `moved` that the step writes to other log files than `logs`. `execution` counts from 1 in this
    attempt of the run.
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
    called: Callable[[Iterable[ChildRun]], None]
    round_name: str
    masker: Masker
    tap: Tap | None
    printer: StepPrinter
    params: Mapping[str, str]
    conversations: Conversations
    trace_parent: str
    inputs: StepInputs
    container: RunContainer | None = None
    waits: Callable[[str], None] = _unheard
    moved: Callable[[StepLogs], None] = _unheard
    execution: int = 1

    @property
    def dag(self) -> Dag:
        """The DAG whose step this is."""
        return self.request.dag

    @property
    def merged(self) -> bool:
        """Whether one log file takes both streams."""
        return self.logs.stdout == self.logs.stderr

    async def print(self, text: str) -> None:
        """Print to the step's standard output."""
        await self.print_bytes(text.encode("utf-8", "surrogateescape"))

    async def print_bytes(self, data: bytes) -> None:
        """Print bytes, as they are, to the step's standard output."""
        await self.printer.write(data)

    async def print_error(self, text: str) -> None:
        """Print to the step's standard error."""
        await self.printer.write(text.encode("utf-8", "surrogateescape"), error=True)

    async def config(self) -> Config:
        """The step's options, every text in them evaluated."""
        return Config(self.step.type, await evaluated(self.step.config, self.evaluator))

    async def captured(self, before: int) -> str:
        """What was printed, from the tap that kept it, else from the log, which had `before` bytes when the step began."""
        limit = self.dag.max_output_size
        if self.tap is not None and self.tap.capture:
            return files.output_text(self.printer.captured, limit)
        return await self.tools.in_thread(partial(files.read_output, self.logs.stdout, before, limit))

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
            tap=self.tap,
        )
        status = await run_group(self.tools.processes, spec, self.stop, self.tools.clock)
        self.printer.keep(status.captured)
        return status
