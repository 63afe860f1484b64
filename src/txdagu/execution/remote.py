"""A run that a worker executes: dispatched, watched through the store, cancelled through both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txdagu.dispatch.matching import Fit, nearest_first, verdict
from txdagu.execution.stop import Stop, StopRequested
from txdagu.model.errors import DaguError
from txdagu.model.labels import Labels, format_labels
from txdagu.model.run import RunStatus
from txdagu.model.status import RunState
from txdagu.model.task import Task
from txdagu.peers.interfaces import ICoordinators, WorkersView
from txdagu.store.interfaces import IRunStore
from txdagu.store.statusreading import told_as_failed
from txdagu.system.waiting import Wake

ASK_EVERY = 3.0  # seconds between questions to the coordinators about a child that seems to run
LOOK_EVERY = 1.0  # seconds; the store's watch is faster where it can be
FILE_PATIENCE = 5.0  # seconds for the store to show an end that the coordinators know already
STOP_PATIENCE = 10.0  # seconds beyond the child's own time to clean up


def waiting_sentence(selector: Labels, view: WorkersView, needs: str = "") -> str:
    """
    Why a task waits: one verdict for each worker, the nearest miss first, and coordinators that gave no answer.

    `needs` is what only workers of ours know of the task.
    """
    wanted = f"a worker with {format_labels(selector)}" if selector else "a worker"
    verdicts = nearest_first(verdict(selector, worker, worker.slots - worker.busy, needs) for worker in view.workers)
    reasons = [f"{one.worker_id}: {one.reason}" for one in verdicts] or ["no worker is connected"]
    if any(one.fit is Fit.MATCHES for one in verdicts):
        reasons = [f"{one.worker_id} matches and has not begun yet" for one in verdicts if one.fit is Fit.MATCHES]
    return f"waiting for {wanted}: {'; '.join([*reasons, *view.errors])}"


class RemoteRun:
    """
    One run on a worker, from dispatch to end.

    The store tells of its end at once where it can watch; every few seconds the coordinators are asked too, since they alone
    know that a task was lost with its worker or never reached one. `waits` is told why nobody has begun it yet, and an empty
    text when somebody has after all; `seen` gets the states in the store, as they are read.
    """

    log = Logger()

    def __init__(
        self,
        store: IRunStore,
        coordinators: ICoordinators,
        clock: IReactorTime,
        task: Task,
        *,
        clean_up_seconds: float,
        earlier_attempt: str = "",
        tries: int | None = None,
        waits: Callable[[str], None] | None = None,
        seen: Callable[[RunStatus], None] | None = None,
    ) -> None:
        self._store = store
        self._coordinators = coordinators
        self._clock = clock
        self._task = task
        self._run = task.run
        self._root = task.root
        self._patience = clean_up_seconds + STOP_PATIENCE
        self._earlier_attempt = earlier_attempt
        self._tries = tries
        self._waits = waits
        self._seen = seen
        self._told = ""
        self._stopping = False
        self._forgotten = 0
        self._wake = Wake(clock)

    async def execute(self, stop: Stop) -> RunStatus:
        """
        The run's final state. After a request to stop: what became of it, or aborted when that cannot be learnt in time, or at
        once where it shall go on.

        Raises `UnavailableError` when no coordinator takes the task.
        """
        accepted = False
        unwatch = self._store.watch(self._run, self._root, self._wake.happen)
        try:
            await stop.race(self._coordinators.dispatch(self._task, self._tries))
            accepted = True
            return await stop.race(self._end())
        except StopRequested:
            if stop.let_go:
                return RunStatus(
                    self._run, self._root, RunState.ABORTED, error="whoever waited for it has gone; it goes on"
                )
            return await self._cancel(accepted)
        finally:
            unwatch()

    async def _end(self, first_ask: float = ASK_EVERY) -> RunStatus:
        ask_at = self._clock.seconds() + first_ask
        while True:
            status = await self._ended_in_store()
            if status is not None:
                return status
            if self._clock.seconds() >= ask_at:
                told = await self._ask()
                if told is not None:
                    return await self._settle(told)
                await self._attempt(self._while_nobody_began(), "look after")
                ask_at = self._clock.seconds() + ASK_EVERY
            await self._wake.wait(min(LOOK_EVERY, max(ask_at - self._clock.seconds(), 0.0)))

    async def _while_nobody_began(self) -> None:
        """Hand the task in again if the coordinators have forgotten it; say why it waits, as often as the reason changes."""
        status: RunStatus | None = await self._store.read_status(self._run, self._root)
        if status is not None and status.state is not RunState.QUEUED and status.attempt_id != self._earlier_attempt:
            self._tell("")
            return
        if await self._coordinators.forgotten(self._run, self._root):
            # Once is not enough: a worker that just begins may not have told the new coordinator yet.
            self._forgotten += 1
            if self._forgotten > 1:
                self._forgotten = 0
                await self._coordinators.dispatch(self._task, 1)
            return
        self._forgotten = 0
        if self._waits is None:
            return
        view = await self._coordinators.workers()
        self._tell(waiting_sentence(self._task.selector, view, self._task.needs))

    def _tell(self, sentence: str) -> None:
        if self._waits is not None and sentence != self._told:
            self._told = sentence
            self._waits(sentence)

    async def _ended_in_store(self) -> RunStatus | None:
        """The state in the store, if nobody works on it; not that of the attempt before ours, or of one that was lost."""
        status: RunStatus | None = await self._store.read_status(self._run, self._root)
        if status is None or (self._earlier_attempt and self._earlier_attempt == status.attempt_id):
            return None
        if self._seen is not None:
            self._seen(status)
        if not status.state.at_rest or (self._doubtful(status) and await self._is_held()):
            return None
        return status

    def _doubtful(self, status: RunStatus) -> bool:
        """
        Whether the coordinators have to agree that it is over: nobody asked for its end, or nobody wrote it down.

        So it looks where a worker is cut off or gone; another one may be given the task.
        """
        if not status.state.ended:
            return False
        return status.finished_at is None or (status.state is RunState.ABORTED and not self._stopping)

    async def _is_held(self) -> bool:
        try:
            held: bool = await self._coordinators.holds(self._run, self._root)
        except Exception as error:  # noqa: BLE001 - then what the store says has to do
            self.log.debug("no coordinator tells of {run}: {error}", run=str(self._run), error=str(error))
            return False
        return held

    async def _ask(self) -> RunStatus | None:
        try:
            told: RunStatus | None = await self._coordinators.task_status(self._run, self._root)
        except Exception as error:  # noqa: BLE001 - whatever is wrong there, the store still tells, and we ask again
            self.log.debug("no coordinator tells of {run}: {error}", run=str(self._run), error=str(error))
            return None
        if told is not None and self._earlier_attempt and told.attempt_id == self._earlier_attempt:
            return None  # a coordinator that remembers the end of the attempt before ours
        return told

    async def _settle(self, told: RunStatus) -> RunStatus:
        """The task has ended; what the store says is richer, if it comes soon."""
        successful = told.state in (RunState.SUCCEEDED, RunState.PARTIALLY_SUCCEEDED, RunState.WAITING)
        until = self._clock.seconds() + (FILE_PATIENCE if successful else 0.0)
        while (status := await self._ended_in_store()) is None and self._clock.seconds() < until:
            await self._wake.wait(LOOK_EVERY)
        if status is not None:
            return status
        return told if successful or told.nodes else await self._end_in_its_stead(told)

    async def _end_in_its_stead(self, told: RunStatus) -> RunStatus:
        """
        The end of a run that nobody else writes down, because its worker was lost or none had it yet.

        It goes into an attempt of its own, which whoever may still write into the former one does not change.
        """
        left: RunStatus | None = await self._store.read_status(self._run, self._root)
        if left is None or not left.state.active:
            return told
        ended = told_as_failed(left, told.error)
        ended = replace(ended, state=told.state, error=told.error, finished_at=told.finished_at)
        try:
            dag = await self._store.read_dag(self._run, self._root)
            if dag is not None:
                sink = await self._store.open_attempt(dag, self._run, self._root)
                ended = replace(ended, attempt_id=sink.attempt_id, log=sink.log)
                await sink.close(ended)
        except (DaguError, OSError) as error:
            # A root run's liveness file speaks for its lost worker a while longer; then readers see by that file that it is dead.
            self.log.debug("the end of {run} is not written down: {error}", run=str(self._run), error=str(error))
        return ended

    async def _cancel(self, accepted: bool) -> RunStatus:
        """Ask everybody who may know the child to end it; wait for that only if somebody has it for sure."""
        self._stopping = True
        await self._attempt(self._store.request_cancel(self._run, self._root), "ask for the end of")
        await self._attempt(self._coordinators.cancel(self._run, self._root), "ask for the end of")
        if not accepted:
            never = RunStatus(
                self._run, self._root, RunState.ABORTED, error="it was stopped before a coordinator took it"
            )
            status: RunStatus | None = await self._store.read_status(self._run, self._root)
            waits = status is not None and status.state is RunState.QUEUED
            return await self._end_in_its_stead(never) if waits else never
        limit = Stop()
        timer = self._clock.callLater(self._patience, limit.request)
        try:
            return await limit.race(self._end(first_ask=0.0))
        except StopRequested:
            return RunStatus(
                self._run,
                self._root,
                RunState.ABORTED,
                error=f"it was asked to stop, but did not end within {self._patience:g} s",
            )
        finally:
            if timer.active():
                timer.cancel()

    async def _attempt(self, asking: Awaitable[Any], purpose: str) -> None:
        try:
            await asking
        except Exception as error:  # noqa: BLE001 - another way may work, or the next time
            self.log.warn("could not {purpose} {run}: {error}", purpose=purpose, run=str(self._run), error=str(error))
