"""Runs on a worker: the real run core, and steps that only take time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from txdagu.execution.guarding import Guard
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
from txdagu.execution.request import RunRequest
from txdagu.execution.stop import StopRequested
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.testing.simulation.files import Sink, Store
from txdagu.testing.simulation.world import Appointment, Process

FORCE = 0.05


class Observer(Protocol):
    """Who sees what really happens on the hosts."""

    def step_begins(self, step: StepProcess) -> None:
        """A process has been started."""

    def step_ends(self, step: StepProcess) -> None:
        """It is gone, however that came."""

    def broken(self, where: str, failure: Failure) -> None:
        """Code failed in a way that nobody was meant to see."""


class StepProcess:
    """
    One step that runs on a host, beside the worker's process: it goes on while that one hangs, and stops with the host.

    `left` is how many seconds it still needs, `token` what its reaper knows it by. `heeds` says whether it
    ends when it is asked to.
    """

    def __init__(
        self, host: Host, run: RunRef, root: RunRef, attempt_id: str, name: str, seconds: float, token: str
    ) -> None:
        self.token = token
        self.host = host
        self.run = run
        self.root = root
        self.attempt_id = attempt_id
        self.name = name
        self.left = seconds
        self.heeds = host.process.random.random() < 0.8
        self.stopped = False
        self.alive = True
        self.ended: Deferred[bool] = Deferred()
        self._began = 0.0
        self._end: Appointment | None = None
        host.steps[self] = None
        host.observer.step_begins(self)
        self.go_on()

    @property
    def runs(self) -> bool:
        """Whether it gets the processor now."""
        return self.alive and not self.stopped and not self.host.suspended

    def stop(self) -> None:
        """SIGSTOP, or what comes to the same."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
            self.left -= self.host.process.world.now - self._began

    def go_on(self) -> None:
        """SIGCONT."""
        if self.runs and self._end is None:
            self._began = self.host.process.world.now
            self._end = self.host.process.world.after(self.left, lambda: self.finish(True))

    def finish(self, well: bool) -> None:
        """It is over; its worker learns of it as soon as it can."""
        if not self.alive:
            return
        self.alive = False
        if self._end is not None:
            self._end.cancel()
        self.host.steps.pop(self, None)
        self.host.observer.step_ends(self)
        self.host.process.do(lambda: self.ended.callback(well))


class Host:
    """The machine that a worker's `process` runs on, with others `beside` it and the steps that it has started."""

    def __init__(self, process: Process, name: str, worker_id: str, slots: int, observer: Observer) -> None:
        self.process = process
        self.name = name
        self.worker_id = worker_id
        self.slots = slots
        self.observer = observer
        self.suspended = False
        self.resumed_at = float("-inf")
        self.beside: list[Process] = []
        self.steps: dict[StepProcess, None] = {}

    def power_off(self) -> None:
        """Everything on it is gone."""
        for process in (self.process, *self.beside):
            process.kill()
        for step in list(self.steps):
            step.finish(False)

    def suspend(self) -> None:
        """Everything on it stands still."""
        for process in (self.process, *self.beside):
            process.pause()
        for step in self.steps:
            step.stop()
        self.suspended = True

    def resume(self) -> None:
        """And goes on."""
        self.suspended = False
        self.resumed_at = self.process.world.now
        for step in list(self.steps):
            step.go_on()
        for process in (*self.beside, self.process):
            process.resume()


class Engine:
    """Starts runs, as `txdagu.execution.engine.Engine` does; `longest` is how many seconds a step takes at most."""

    def __init__(self, host: Host, store: Store, longest: float) -> None:
        self.host = host
        self.store = store
        self.longest = longest

    def start(self, request: RunRequest, slot: Any = None, guard: Guard | None = None) -> CoreRun:
        """Begin a run, whose steps start only while the guard lets them."""
        run = CoreRun(self, request, guard or Guard())
        run.begin()
        return run


class CoreRun:
    """One run that its `RunCore` decides about."""

    def __init__(self, engine: Engine, request: RunRequest, guard: Guard) -> None:
        self._guard = guard
        self._engine = engine
        self._process = engine.host.process
        self._request = request
        self._sink: Sink | None = None
        self._done: Deferred[RunStatus] = Deferred()
        self._cancelled = ""
        self._handed_back = False
        previous = request.previous.nodes if request.previous is not None else ()
        self._core = RunCore(request.dag, previous, request.step, resumes=request.resumes)
        self._steps: dict[Target, StepProcess] = {}
        self._stopping: set[Target] = set()
        self._wake: Any = None
        self._began: datetime | None = None

    def wait(self) -> Deferred[RunStatus]:
        """Fires with the final state."""
        return self._done

    def cancel(self, reason: str) -> None:
        """Ask for the end."""
        if self._cancelled:
            return
        self._cancelled = reason
        if self._sink is not None:
            # Nobody who is stopped can clean up.
            stop = self._core.escalate if self._guard.frozen else self._core.cancel
            self._carry_out(stop(self._process.wall()))

    def hand_back(self, reason: str) -> None:
        """Stop, so that another worker can go on."""
        if self._cancelled:
            return
        self._cancelled, self._handed_back = reason, True
        if self._sink is not None:
            stop = self._core.escalate if self._guard.frozen else self._core.hand_back
            self._carry_out(stop(self._process.wall()))

    def give_up(self, reason: str, fenced: bool = False) -> None:
        """Kill it; if `fenced`, it writes nothing more."""
        self._guard.end(reason, fenced)
        self._cancelled = self._cancelled or reason
        if self._sink is not None:
            self._carry_out(self._core.escalate(self._process.wall()))

    def begin(self) -> None:
        """Open the attempt, and start what can start."""
        opened = Deferred.fromCoroutine(self._open())
        opened.addErrback(self._done.errback)

    async def _open(self) -> None:
        request = self._request
        self._sink = await self._engine.store.open_attempt(request.dag, request.run, request.root, request.attempt_name)
        self._began = self._process.wall()
        if self._cancelled:
            stop = self._core.hand_back if self._handed_back else self._core.cancel
            self._carry_out(stop(self._process.wall()))
            return
        self._write(RunState.RUNNING)
        self._carry_out(self._core.start(self._process.wall()))

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            now = self._process.wall()
            match effect:
                case StartStep(target, step) | RunHandler(target, step):
                    self._start(target, step.name)
                case StopStep(target, _, force) if target in self._steps:
                    self._stop(self._steps[target], force)
                case StopStep(target, _, _) if target is not None:
                    self._stopping.add(target)  # it waits for its guard
                case StepSettled():
                    self._write(RunState.RUNNING)
                case WakeAt(at):
                    self._wake_at(at)
                case FinishRun(state, reason):
                    self._finish(state, reason)
                case CheckConditions(target, conditions):
                    verdicts = [Verdict(True)] * len(conditions)
                    self._carry_out(self._core.conditions_checked(target, verdicts, now))
                case SearchLog(target, _):
                    self._carry_out(self._core.log_searched(target, False, now))
                case EvaluateRetry(target, _):
                    self._carry_out(self._core.retry_evaluated(target, 0, 0, now))

    def _start(self, target: Target, name: str) -> None:
        starting = Deferred.fromCoroutine(self._start_guarded(target, name))
        starting.addErrback(self._not_started, target)
        starting.addErrback(lambda failure: self._engine.host.observer.broken(str(self._request.run), failure))
        self._process.world.remains.append(starting)

    async def _start_guarded(self, target: Target, name: str) -> None:
        await self._guard.passed()
        if target not in self._core.running:
            return
        assert self._sink is not None
        if target in self._stopping:
            raise StopRequested
        seconds = self._process.random.uniform(0.2, self._engine.longest)
        request = self._request
        step = StepProcess(
            self._engine.host, request.run, request.root, self._sink.attempt_id, name, seconds, self._guard.token
        )
        self._steps[target] = step
        self._log(f"{name} begins")
        step.ended.addCallback(lambda well: self._ended(target, well))
        step.ended.addErrback(lambda failure: self._engine.host.observer.broken(str(self._request.run), failure))

    def _not_started(self, failure: Failure, target: Target) -> None:
        failure.trap(StopRequested)
        if target in self._core.running:
            end = StepEnd(NodeState.ABORTED, "it was not started any more")
            self._carry_out(self._core.step_ended(target, end, self._process.wall()))

    def _log(self, line: str) -> None:
        if self._sink is not None and not self._guard.fenced:
            self._sink.write_log(line)

    def _ended(self, target: Target, well: bool) -> None:
        step = self._steps.pop(target)
        self._log(f"{step.name} ends")
        well = well and self._process.random.random() < 0.95
        end = StepEnd(NodeState.SUCCEEDED) if well else StepEnd(NodeState.FAILED, "exit status 1", exit_code=1)
        self._carry_out(self._core.step_ended(target, end, self._process.wall()))

    def _stop(self, step: StepProcess, force: bool) -> None:
        if force or step.heeds:
            # The signal comes from the worker's process, the end happens beside it.
            self._process.callLater(FORCE if force else self._process.random.uniform(0.01, 1.0), step.finish, False)

    def _wake_at(self, at: datetime | None) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if at is not None:
            # The time of day may have been set back meanwhile; the core says so, and is woken again.
            seconds = max((at - self._process.wall()) / timedelta(seconds=1), 0.0)
            self._wake = self._process.callLater(seconds, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._carry_out(self._core.woken(self._process.wall()))

    def _finish(self, state: RunState, reason: str) -> None:
        self._wake_at(None)
        if self._handed_back and state is RunState.ABORTED and not self._guard.ended:
            state = RunState.QUEUED
        status = self._write(state, reason or self._cancelled)
        self._done.callback(status)

    def _write(self, state: RunState, error: str = "") -> RunStatus:
        assert self._sink is not None
        request = self._request
        status = RunStatus(
            run=request.run,
            root=request.root,
            parent=request.parent,
            state=state,
            attempt_id=self._sink.attempt_id,
            worker_id=request.worker_id,
            nodes=self._core.nodes,
            started_at=self._began,
            finished_at=self._process.wall() if state.at_rest else None,
            error=error,
        )
        if not self._guard.fenced:
            self._sink.write_status(status)
        return replace(status, nodes=())
