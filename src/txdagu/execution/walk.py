"""The way through a run: the core says what is to be done, this lets it be done and tells the core what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

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
from txdagu.execution.preparation import PreparedRun
from txdagu.execution.record import RunRecord, sentence
from txdagu.execution.sight import Sight
from txdagu.execution.slot import SharedSlot, SlotUse
from txdagu.execution.stop import Stop, StopRequested
from txdagu.execution.work import StepWork, Verdicts
from txdagu.model.dag import Handler
from txdagu.model.errors import DaguError
from txdagu.model.status import NodeState
from txdagu.store.interfaces import IRunSink

T = TypeVar("T")
Job = Callable[[Stop, SlotUse], Awaitable[T]]


class Walk:
    """Carries out what a `RunCore` wants, until it says that the run is finished."""

    log = Logger()

    def __init__(
        self, core: RunCore, prepared: PreparedRun, sink: IRunSink, record: RunRecord, slot: SharedSlot
    ) -> None:
        self._core = core
        self._prepared = prepared
        self._record = record
        self._slot = slot
        self._now = prepared.tools.now
        self._sight = Sight(core, prepared.masker, prepared.given)
        self._work = StepWork(core, prepared, sink, record, self._sight, self._publish)
        self._stops: dict[Target | None, Stop] = {}
        self._finished: Deferred[FinishRun] = Deferred()
        self._effects: deque[Effect] = deque()
        self._applying = False
        self._timer: IDelayedCall | None = None
        self._guard = prepared.tools.guard
        self._frozen_since: datetime | None = None

    def begin(self) -> Deferred[FinishRun]:
        """Start the run; fires when it is over."""
        self._apply(self._core.start(self._now()))
        return self._finished

    def cancel(self, signal: str = "") -> None:
        """Start nothing more, ask what runs to end; `signal` names one to pass on."""
        self._apply(self._core.cancel(self._now(), signal))

    def hand_back(self) -> None:
        """Ask what runs to end, so that somebody else can go on with the run."""
        self._apply(self._core.hand_back(self._now()))

    def kill(self) -> None:
        """Make what runs end."""
        self._apply(self._core.escalate(self._now()))

    def freeze_changed(self, reason: str) -> None:
        """Nothing of the run may go on, for this reason; with an empty one, it goes on."""
        if reason:
            self._frozen_since = self._now()
            self._wake_at(None)
        for target in self._core.running:
            self._core.step_waits(target, f"frozen: {reason}" if reason else "")
        self._publish()
        since, now = self._frozen_since, self._now()
        if not reason and since is not None:
            self._frozen_since = None
            self._apply(self._core.thawed(since, now))
            self._wake_at(self._core.next_alarm)

    # -- effects -------------------------------------------------------------------------------------------------------

    def _apply(self, effects: Iterable[Effect]) -> None:
        """
        Carry out effects in order.

        A step that ends at once adds effects while we are at it; they wait their turn, so that long chains need no deep stack.
        """
        self._effects.extend(effects)
        if self._applying:
            return
        self._applying = True
        self._slot.pin()
        try:
            while self._effects:
                self._carry_out(self._effects.popleft())
        finally:
            self._applying = False
            self._slot.end_work()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case StopStep(target, signal, force, let_go):
                if target in self._stops:
                    self._stops[target].request(force, signal, let_go)
            case StepSettled(target):
                self._settled(target)
            case WakeAt(at):
                self._wake_at(at)
            case FinishRun():
                self._wake_at(None)
                self._finished.callback(effect)
            case _:
                self._begin(effect)

    def _begin(self, effect: CheckConditions | EvaluateRetry | StartStep | RunHandler | SearchLog) -> None:
        """Effects that take time, one at once for each target."""
        work, core = self._work, self._core
        match effect:
            case StartStep(target, step):
                self._job(target, partial(work.execute, target, step, {}), partial(self._ended, target))
            case RunHandler(target, step, state):
                told = {"DAG_RUN_STATUS": state.label}
                if target is Handler.WAIT:
                    told["DAG_WAITING_STEPS"] = ",".join(self._waiting_steps())
                self._job(target, partial(work.execute, target, step, told), partial(self._ended, target))
            case CheckConditions(at, conditions):
                self._job(at, partial(work.check, at, conditions), partial(self._checked, at))
            case EvaluateRetry(target, policy):
                known = partial(self._told, partial(core.retry_evaluated, target))
                self._job(target, partial(work.retry_numbers, target, policy), lambda numbers: known(*numbers))
            case SearchLog(target, texts):
                searched = partial(self._told, partial(core.log_searched, target))
                self._job(target, partial(work.search, target, texts), searched)

    def _wake_at(self, at: datetime | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None and self._frozen_since is None:
            delay = max(0.0, (at - self._now()).total_seconds())
            self._timer = self._prepared.tools.clock.callLater(delay, self._woken)

    def _woken(self) -> None:
        self._timer = None
        self._apply(self._core.woken(self._now()))

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def _job(self, target: Target | None, work: Job[T], report: Callable[[T], None]) -> None:
        stop = self._stops[target] = Stop("" if target is None else self._core.node(target).step.signal_on_stop)
        job = Deferred.fromCoroutine(self._run_job(target, work, report, stop))
        job.addErrback(self._broke, target)

    async def _run_job(self, target: Target | None, work: Job[T], report: Callable[[T], None], stop: Stop) -> None:
        use = self._slot.use()
        try:
            try:
                await stop.race(use.work())
                if not self._guard.open:
                    await stop.race(self._guard.passed())
                result = await work(stop, use)
            except StopRequested:
                self._failed(target, StepEnd(NodeState.ABORTED, exit_code=1))
            except DaguError as error:
                self._failed(target, StepEnd(NodeState.FAILED, str(error), exit_code=1))
            else:
                report(result)
        finally:
            use.leave()  # after the next jobs have begun, so that there is no idle moment between them

    def _failed(self, target: Target | None, end: StepEnd) -> None:
        if target is None:
            verdict = Verdict(met=False, message=end.error, broken=True)
            self._checked(None, (verdict,) * len(self._core.preconditions))
        else:
            self._ended(target, end)

    def _broke(self, failure: Failure, target: Target | None) -> None:
        """Something in our own code went wrong: the step fails for it, and the run goes on to its end."""
        self.log.failure("a step of run {run} broke", failure, run=str(self._prepared.request.run))
        if target is None or target in self._core.running:
            self._failed(target, StepEnd(NodeState.FAILED, sentence(failure), exit_code=1))

    # -- what came of it -----------------------------------------------------------------------------------------------

    def _told(self, tell: Callable[..., list[Effect]], *answer: object) -> None:
        self._apply(tell(*answer, self._now()))

    def _checked(self, target: Target | None, verdicts: Verdicts) -> None:
        effects = self._core.conditions_checked(target, verdicts, self._now())
        if target is None:
            self._record.change(preconditions=self._core.preconditions)
        self._apply(effects)

    def _ended(self, target: Target, end: StepEnd) -> None:
        retries = self._core.node(target).retry_count
        effects = self._core.step_ended(target, end, self._now())
        if isinstance(target, int):
            self._sight.learn(target)
        node = self._core.node(target)
        if node.state is NodeState.RUNNING:
            if node.retry_count > retries:
                self._record.write("WARN", "Step failed, will be tried again", step=node.step.name, error=node.error)
            self._publish()
        self._apply(effects)

    def _settled(self, target: Target) -> None:
        self._stops.pop(target, None)
        if isinstance(target, int):
            self._sight.learn(target)
        node = self._core.node(target)
        level = "ERROR" if node.state in (NodeState.FAILED, NodeState.ABORTED) else "INFO"
        self._record.write(level, "Step finished", step=node.step.name, status=node.state.label, error=node.error)
        self._publish()

    def _publish(self) -> None:
        nodes, handlers = self._core.nodes, self._core.handlers
        if self._core.finished:
            self._record.change(nodes=nodes, handlers=handlers)  # written with the end of the run
        else:
            self._record.publish(nodes=nodes, handlers=handlers)

    def _waiting_steps(self) -> Iterable[str]:
        return (node.step.name for node in self._core.nodes if node.state is NodeState.WAITING)
