"""One run while it runs: the core's effects carried out, what happens told to the core and to the record."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from txdagu.execution.plan import FinishRun, RunCore
from txdagu.execution.preparation import Inputs, PreparedRun, evaluate_inputs, prepare_run, with_log_directory
from txdagu.execution.record import OnStatus, RunRecord, sentence
from txdagu.execution.request import RunRequest
from txdagu.execution.runmail import RunMail
from txdagu.execution.slot import SharedSlot
from txdagu.execution.steps.context import Tools
from txdagu.execution.stop import Stop, StopRequested
from txdagu.execution.tracing.tracing import Tracing
from txdagu.execution.walk import Walk
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError
from txdagu.model.run import RunStatus
from txdagu.model.status import RunState
from txdagu.store.interfaces import IRunSink


class Run:
    """
    A run that was started. `status` is its latest state; `wait` tells of the end, `cancel` asks for it.

    The end is always a `RunStatus`, also when the run could not even begin: then it failed, and its `error` says why.
    """

    log = Logger()

    def __init__(self, request: RunRequest, tools: Tools, slot: SharedSlot, on_status: OnStatus | None = None) -> None:
        self.request = request
        self._tools = tools
        self._slot = slot
        self._mail = RunMail(tools, request.dag, self._unsent)
        self._record = RunRecord(request, tools, self._told(on_status))
        self._ended = False
        self._waiters: list[Deferred[RunStatus]] = []
        self._stop = Stop()  # ends what comes before the first step
        self._walk: Walk | None = None
        self._inputs: Inputs | None = None
        self._trouble: Exception | None = None  # before there was a log
        self._reason = ""
        self._handed_back = False
        self._kill_timer: IDelayedCall | None = None
        self._tracing: Tracing | None = None
        self._exit_codes: dict[str, int] = {}

    @property
    def status(self) -> RunStatus:
        """The latest state."""
        return self._record.status

    @property
    def done(self) -> Deferred[RunStatus]:
        """A new Deferred of the final state at each look, as from `wait`."""
        return self.wait()

    def wait(self) -> Deferred[RunStatus]:
        """The final state, when everything is on disk. Each caller gets a Deferred of its own."""
        waiter: Deferred[RunStatus] = Deferred()
        if self._ended:
            waiter.callback(self.status)
        else:
            self._waiters.append(waiter)
        return waiter

    def cancel(self, reason: str, signal: str = "") -> None:
        """
        Ask for the run's end; it ends as aborted.

        Running steps get their signal, or the one named `signal` if somebody sent it to the whole process, after the DAG's time
        to clean up SIGKILL; children are cancelled. `reason` goes to the run's log and, where the run ends as aborted, into
        its error. Only the first call counts.
        """
        if self._ended or self._reason:
            return
        self._note(reason or "it was asked for")
        if self._tools.guard.frozen:
            self.kill()  # nobody who is stopped can clean up
            return
        self._stop.request(passed=signal)
        if self._walk is not None:
            self._walk.cancel(signal)
        else:
            self._kill_later()

    def hand_back(self, reason: str) -> None:
        """
        Stop, so that another worker can go on: the run is queued again then, with all steps that had ended.

        Running steps are ended as with `cancel`, but no handler follows, and what runs elsewhere for it goes on. Without effect
        once its end was asked for.
        """
        if self._ended or self._reason:
            return
        self._handed_back = True
        self._note(reason)
        if self._tools.guard.frozen:
            self.kill()  # nobody who is stopped can clean up
            return
        self._stop.request(let_go=True)
        if self._walk is not None:
            self._walk.hand_back()
        else:
            self._kill_later()

    def _kill_later(self) -> None:
        seconds = max(self.request.dag.max_clean_up_seconds, 0)
        self._kill_timer = self._tools.clock.callLater(seconds, self._stop.request, force=True)

    def kill(self) -> None:
        """Make the run end: SIGKILL to what still runs, and no handlers."""
        if self._ended:
            return
        if not self._reason:
            self._note("it was killed")
        self._stop.request(force=True)
        if self._walk is not None:
            self._walk.kill()

    def give_up(self, reason: str, fenced: bool = False) -> None:
        """
        The task is not ours any more: SIGKILL to what runs of it, its children here too. It ends as failed, for that reason; if
        `fenced`, nothing of it is written any more.
        """
        self._tools.guard.end(reason, fenced)
        self._reason = self._reason or reason
        self.kill()

    def _freeze_changed(self, reason: str) -> None:
        if reason:
            self._record.write("WARN", "DAG run is frozen", reason=reason)
        else:
            self._record.write("INFO", "DAG run goes on")

    def _note(self, reason: str) -> None:
        self._reason = reason
        self._record.write("INFO", "DAG run is being stopped", reason=reason)

    async def execute(self) -> None:
        """From opening the attempt to closing it. The engine calls it once."""
        try:
            await self._execute()
        except DaguError as error:
            self.log.error("run {run} broke off: {error}", run=str(self.request.run), error=str(error))
            self._record.change(state=RunState.FAILED, error=str(error), finished_at=self._tools.now())
        except Exception:  # noqa: BLE001 - whatever it is, the run must end for those who wait for it
            failure = Failure()
            self.log.failure("run {run} broke", failure, run=str(self.request.run))
            self._record.change(state=RunState.FAILED, error=sentence(failure), finished_at=self._tools.now())
        if self._kill_timer is not None and self._kill_timer.active():
            self._kill_timer.cancel()
        self._ended = True
        self._record.tell()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(self.status)

    async def _execute(self) -> None:
        request = self.request
        self._record.change(started_at=self._tools.now())
        dag = await self._with_log_directory()
        try:
            sink: IRunSink = await self._tools.store.open_attempt(
                dag, request.run, request.root, attempt_name=request.attempt_name, new=request.new
            )
        except DaguError as error:
            self._record.finish(RunState.FAILED, str(error))
            return
        self._record.open(sink)
        self._record.write("INFO", "DAG run started", dag=request.dag.name, run_id=request.run.id)
        unsubscribe = self._tools.guard.subscribe(self._freeze_changed)
        try:
            state, problem = await self._outcome(sink)
        finally:
            unsubscribe()
        if self._tools.guard.fenced:
            self._record.finish(RunState.FAILED, self._tools.guard.ended)
            await sink.abandon()
            return
        if self._tools.guard.ended:
            state, problem = RunState.FAILED, self._tools.guard.ended
        elif self._handed_back and state is RunState.ABORTED:
            await sink.close(self._record.hand_back(self._reason))
            return
        elif state is RunState.ABORTED and self._reason:
            problem = f"it was stopped: {self._reason}"
        ended = replace(self.status, state=state, error=problem, finished_at=self._tools.now())
        await self._mail.run_ended(ended)
        await sink.close(self._record.finish(state, problem))
        if self._tracing is not None:
            self._tools.exports.send(self._tracing, self.status, self._exit_codes)

    async def _with_log_directory(self) -> Dag:
        """The DAG with its log directory evaluated, for which its env has to be. What goes wrong is told when there is a log."""
        request, tools = self.request, self._tools
        if not request.dag.log_dir:
            return request.dag
        try:
            inputs = await evaluate_inputs(request, tools, self._stop)
            dag = await with_log_directory(request, tools, self._stop, inputs)
        except (DaguError, StopRequested) as error:
            self._trouble = error
            return request.dag
        self._inputs = inputs
        return dag

    def _told(self, on_status: OnStatus | None) -> OnStatus:
        """What is told of each state of the run: the listener, and those who want mail of failed steps."""

        def tell(status: RunStatus) -> None:
            self._mail.status_told(status)
            if on_status is not None:
                on_status(status)

        return tell

    def _unsent(self, reason: str) -> None:
        self._record.write("WARN", "A mail was not sent", error=reason)

    async def _outcome(self, sink: IRunSink) -> tuple[RunState, str]:
        """How the run ended, whatever happened; and why, if it did not come to its steps."""
        try:
            sink.watch_cancel(partial(self.cancel, "somebody asked for it"))
            finished = await self._run_steps(sink)
            return finished.state, finished.reason
        except StopRequested:
            return RunState.ABORTED, ""
        except DaguError as error:
            return RunState.FAILED, str(error)
        except Exception:  # noqa: BLE001 - every problem ends as a failed run that says why
            failure = Failure()
            self.log.failure("run {run} broke", failure, run=str(self.request.run))
            return RunState.FAILED, sentence(failure)

    async def _run_steps(self, sink: IRunSink) -> FinishRun:
        request = self.request
        previous = request.previous.nodes if request.previous is not None else ()
        core = RunCore(request.dag, previous, request.step, resumes=request.resumes)
        self._record.change(
            state=RunState.RUNNING, nodes=core.nodes, handlers=core.handlers, preconditions=core.preconditions
        )
        if self._trouble is not None:
            raise self._trouble
        use = self._slot.use()
        try:
            await self._stop.race(use.work())
            prepared = await prepare_run(request, self._tools, self._stop, sink, self._warn, self._inputs)
        finally:
            use.leave()
        self._tracing = prepared.tracing
        self._stop.check()
        self._record.hide(prepared.masker)
        self._record.publish(params=prepared.params, nodes=core.nodes)  # told again: now secrets in them are known
        await self._mail.evaluate(prepared.evaluator(self._stop))
        if request.dag.container is None:
            return await self._walk_through(core, prepared, sink)
        return await self._walk_in_container(core, prepared, sink)

    async def _walk_in_container(self, core: RunCore, prepared: PreparedRun, sink: IRunSink) -> FinishRun:
        from txdagu.execution.containers.shared import open_container  # takes a while to load, and few DAGs need it

        async def tell(problem: str) -> None:
            self._warn(problem.strip())

        container = await open_container(prepared, self._stop, tell)
        try:
            self._stop.check()
            return await self._walk_through(core, replace(prepared, container=container), sink)
        finally:
            if container is not None:
                try:
                    seconds = max(self.request.dag.max_clean_up_seconds, 0)
                    await container.close(gently=not self._stop.forced, seconds=seconds)
                except DaguError as error:
                    self._warn(f"the container of the run was not ended: {error}")

    async def _walk_through(self, core: RunCore, prepared: PreparedRun, sink: IRunSink) -> FinishRun:
        walk = self._walk = Walk(core, prepared, sink, self._record, self._slot)
        begun = walk.begin()
        unsubscribe = self._tools.guard.subscribe(walk.freeze_changed)
        try:
            finished = await begun
        finally:
            unsubscribe()
        self._exit_codes = {node.step.name: core.exit_code(number) for number, node in enumerate(core.nodes)}
        return finished

    def _warn(self, problem: str) -> None:
        self._record.write("WARN", problem)
