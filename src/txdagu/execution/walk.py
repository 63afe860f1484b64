"""The way through a run's steps: the core says which, this starts and stops them and tells the core how they ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.execution.evaluation.outputs import Visible, extended, inherited
from txdagu.execution.evaluation.references import StepFacts
from txdagu.execution.plan import Effect, FinishRun, RunCore, StartStep, StepEnd, StopStep
from txdagu.execution.preparation import PreparedRun, prepare_step
from txdagu.execution.record import RunRecord, sentence
from txdagu.execution.slot import SharedSlot, SlotUse
from txdagu.execution.steps.dispatch import run_step
from txdagu.execution.stop import Stop, StopRequested
from txdagu.model.dag import Step
from txdagu.model.errors import DaguError
from txdagu.model.run import ChildRun
from txdagu.model.status import NodeState, RunState
from txdagu.store.interfaces import IRunSink


class Walk:
    """Carries out what a `RunCore` wants, until it says that the run is finished."""

    log = Logger()

    def __init__(
        self, core: RunCore, prepared: PreparedRun, sink: IRunSink, record: RunRecord, slot: SharedSlot
    ) -> None:
        self._core = core
        self._prepared = prepared
        self._sink = sink
        self._record = record
        self._slot = slot
        self._now = prepared.tools.now
        self._stops: dict[int, Stop] = {}
        self._finished: Deferred[RunState] = Deferred()
        self._effects: deque[Effect] = deque()
        self._applying = False
        self._visible: dict[int, Visible] = {}
        self._facts: dict[str, StepFacts] = {}

    def begin(self) -> Deferred[RunState]:
        """Start the first steps; fires with the state in which the run ends."""
        for index in self._core.order:
            node = self._core.node(index)
            if node.state is not NodeState.NOT_STARTED:  # kept from an earlier attempt
                self._learn(index, StepEnd(node.state, outputs=node.outputs))
        self._apply(self._core.start(self._now()))
        return self._finished

    def cancel(self) -> None:
        """Start nothing more, ask what runs to end."""
        self._apply(self._core.cancel(self._now()))

    def kill(self) -> None:
        """Make what runs end."""
        self._apply(self._core.escalate())

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
                match self._effects.popleft():
                    case StartStep(index, step):
                        self._start(index, step)
                    case StopStep(index, force) if index in self._stops:
                        self._stops[index].request(force)
                    case FinishRun(state):
                        self._finished.callback(state)
        finally:
            self._applying = False
            self._slot.end_work()

    def _start(self, index: int, step: Step) -> None:
        stop = self._stops[index] = Stop()
        if self._core.cancelled:
            stop.request()
        Deferred.fromCoroutine(self._run_step(index, step, stop)).addErrback(self._broke, index)

    async def _run_step(self, index: int, step: Step, stop: Stop) -> None:
        use = self._slot.use()
        try:
            self._ended(index, await self._execute(index, step, stop, use))
        finally:
            use.leave()  # after the next steps have begun, so that there is no idle moment between them

    async def _execute(self, index: int, step: Step, stop: Stop, use: SlotUse) -> StepEnd:
        try:
            await stop.race(use.work())
            logs = await stop.race(self._sink.step_logs(step.name, self._now()))
            self._core.step_started(index, logs.stdout, logs.stderr)
            self._record.publish(nodes=self._core.nodes)
            self._record.write("INFO", "Step started", step=step.name)
            outputs = self._inherited(index).values()
            called = partial(self._called, index)
            context = await prepare_step(self._prepared, step, logs, outputs, self._facts, stop, use, called)
            return await run_step(context)
        except StopRequested:
            return StepEnd(NodeState.ABORTED, exit_code=1)
        except DaguError as error:
            return StepEnd(NodeState.FAILED, str(error), exit_code=1)

    def _called(self, index: int, child: ChildRun) -> None:
        self._core.step_calls(index, child)
        self._record.publish(nodes=self._core.nodes)

    def _ended(self, index: int, end: StepEnd) -> None:
        del self._stops[index]
        effects = self._core.step_ended(index, end, self._now())
        self._learn(index, end)
        node = self._core.node(index)
        level = "ERROR" if node.state in (NodeState.FAILED, NodeState.ABORTED) else "INFO"
        self._record.write(level, "Step finished", step=node.step.name, status=node.state.label, error=node.error)
        if self._core.finished:
            self._record.change(nodes=self._core.nodes)  # written with the end of the run
        else:
            self._record.publish(nodes=self._core.nodes)
        self._apply(effects)

    def _broke(self, failure: Failure, index: int) -> None:
        """Something in our own code went wrong: the step fails for it, and the run goes on to its end."""
        self.log.failure("a step of run {run} broke", failure, run=str(self._prepared.request.run))
        if index in self._core.running:
            self._ended(index, StepEnd(NodeState.FAILED, sentence(failure), exit_code=1))

    def _learn(self, index: int, end: StepEnd) -> None:
        """Remember the outputs and facts of a step that has ended."""
        self._visible[index] = extended(self._inherited(index), end.outputs)
        node = self._core.node(index)
        if node.step.id:
            self._facts[node.step.id] = StepFacts(node.stdout, node.stderr, end.exit_code)

    def _inherited(self, index: int) -> Visible:
        """What a step can see. A dependency that was skipped or aborted has nothing to show."""
        seen = (self._visible.get(other) for other in self._core.dependencies(index))
        return inherited(visible for visible in seen if visible is not None)
