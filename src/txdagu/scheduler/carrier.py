"""Carries one queued run from its queue item to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txdagu.dagfile import beyond_dagu
from txdagu.dispatch.routing import Place, Route
from txdagu.execution.request import RunRequest
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError, InvalidInputError
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.model.task import Operation, Task
from txdagu.peers.interfaces import ICoordinators
from txdagu.peers.routing import find_route
from txdagu.store.errors import CorruptRecordError
from txdagu.store.interfaces import IRunQueue, IRunStore
from txdagu.system.waiting import Wake

ASK_INTERVAL = 5.0
DISPATCH_INTERVAL = 30.0


class StartedRun(Protocol):
    """What the engine returns: a run that goes on by itself."""

    def wait(self) -> Deferred[RunStatus]:
        """The final state."""

    def cancel(self, reason: str) -> None:
        """Ask for the end."""


class RunsHere(Protocol):
    """The engine, as far as it is needed here."""

    def start(self, request: RunRequest, on_status: Callable[[RunStatus], None] | None = None) -> StartedRun:
        """Begin a run."""


@dataclass(frozen=True, slots=True)
class Means:
    """
    What queued runs are started with.

    Where they are kept and queued, who executes them elsewhere and here, the clock, and the default execution mode.
    """

    store: IRunStore
    queue: IRunQueue
    coordinators: ICoordinators
    engine: RunsHere
    clock: IReactorTime
    mode: str


@dataclass(eq=False)
class Carried:
    """A run that was taken in hand. `begun` tells that it is, or was, executed: until then it holds a place of its queue."""

    queue: str
    run: RunRef
    begun: bool = False
    here: StartedRun | None = None


class NotNowError(Exception):
    """The run stays in its queue, to be tried again later; the message says why."""


class Carrier:
    """
    Executes queued runs: in this process, or on a worker through the coordinators.

    The item leaves the queue when the run has begun, not when it was handed in: should a coordinator lose its memory,
    the task is handed in again, which is the same task to one that has not. A run that ended without having begun is
    written down as ended, so that nothing stays queued for ever. `changed` is called when a place of a queue may have
    become free.
    """

    log = Logger()

    def __init__(self, means: Means, changed: Callable[[], None]) -> None:
        self._store = means.store
        self._queue = means.queue
        self._coordinators = means.coordinators
        self._engine = means.engine
        self._clock = means.clock
        self._mode = means.mode
        self._changed = changed

    async def carry(self, carried: Carried) -> None:
        """Take a run through; returns at its end, or when its item was dropped. Raises `NotNowError` if it must wait."""
        run = carried.run
        try:
            status = await self._store.read_status(run, run)
        except CorruptRecordError as error:
            await self._drop(carried, str(error))
            return
        if status is None:
            await self._drop(carried, "there is no such run")
            return
        if status.state is not RunState.QUEUED:
            await self._drop(carried, f"the run is {status.state.label} already")
            return
        try:
            dag = await self._store.read_dag(run, run)
            if dag is None:
                await self._fail(carried, Dag(name=run.name), status, "its snapshot of the DAG is missing")
                return
            await self._execute(carried, dag, status)
        except (CorruptRecordError, InvalidInputError) as error:
            await self._fail(carried, Dag(name=run.name), status, str(error))

    async def _execute(self, carried: Carried, dag: Dag, status: RunStatus) -> None:
        decision = await find_route(dag.worker_selector, self._mode, self._coordinators)
        self.log.info(
            "run {run} of queue {queue} starts {place}: {reason}",
            run=str(carried.run),
            queue=carried.queue,
            place=decision.place.value,
            reason=decision.reason,
        )
        if decision.place is Place.WORKER:
            await self._on_worker(carried, dag, decision, status)
        else:
            await self._here(carried, dag, status)

    # -- here ----------------------------------------------------------------------------------------------------------

    async def _here(self, carried: Carried, dag: Dag, status: RunStatus) -> None:
        def told(state: RunStatus) -> None:
            if not carried.begun and state.state is RunState.RUNNING:
                self._begun(carried)

        request = RunRequest(dag=dag, run=carried.run, root=carried.run, previous=status, queued_at=status.queued_at)
        carried.here = self._engine.start(request, told)
        final = await carried.here.wait()
        if not carried.begun and await self._is_queued(carried.run):
            raise NotNowError(final.error or "it could not begin")
        await self._queue.remove(carried.queue, carried.run)

    async def _is_queued(self, run: RunRef) -> bool:
        status = await self._store.read_status(run, run)
        return status is not None and status.state is RunState.QUEUED

    # -- on a worker ---------------------------------------------------------------------------------------------------

    async def _on_worker(self, carried: Carried, dag: Dag, decision: Route, status: RunStatus) -> None:
        run = carried.run
        task = Task(
            run=run,
            root=run,
            operation=Operation.RETRY,
            target=run.name,
            selector=dict(decision.selector.labels),
            definition=dag.yaml_text,
            on_worker_lost=dag.on_worker_lost,
            needs=beyond_dagu(dag),
            earlier_attempt=status.attempt_id,
        )
        await self._coordinators.dispatch(task)
        await self._follow(carried, task, dag)

    async def _follow(self, carried: Carried, task: Task, dag: Dag) -> None:
        """Wait for the run's beginning and end, by its files and, while it waits, by what the coordinators know of it."""
        run = carried.run
        news = Wake(self._clock)
        stop = self._store.watch(run, run, news.happen)
        asked_at = dispatched_at = self._clock.seconds()
        try:
            while True:
                status = await self._store.read_status(run, run)
                if status is None or status.state is RunState.NOT_STARTED or status.state.at_rest:
                    await self._ended(carried)
                    return
                now = self._clock.seconds()
                if status.state is not RunState.QUEUED:
                    if not carried.begun:
                        self._begun(carried)
                elif now - asked_at >= ASK_INTERVAL:
                    asked_at = now
                    ending = await self._coordinators.task_status(run, run)
                    if ending is not None and await self._is_queued(run):
                        await self._close(carried, dag, status, ending)
                        return
                    if now - dispatched_at >= DISPATCH_INTERVAL:
                        dispatched_at = now
                        await self._coordinators.dispatch(task)
                await news.wait()
        finally:
            stop()

    async def _ended(self, carried: Carried) -> None:
        """A run that ended without having begun was taken out of the queue by somebody: no worker shall have it either."""
        if not carried.begun:
            await self._coordinators.cancel(carried.run, carried.run)
        await self._queue.remove(carried.queue, carried.run)

    # -- ends without a run --------------------------------------------------------------------------------------------

    async def _drop(self, carried: Carried, reason: str) -> None:
        self.log.warn(
            "run {run} is dropped from queue {queue}: {reason}",
            run=str(carried.run),
            queue=carried.queue,
            reason=reason,
        )
        await self._queue.remove(carried.queue, carried.run)

    async def _fail(self, carried: Carried, dag: Dag, queued: RunStatus, reason: str) -> None:
        await self._close(carried, dag, queued, replace(queued, state=RunState.FAILED, error=reason))

    async def _close(self, carried: Carried, dag: Dag, queued: RunStatus, ending: RunStatus) -> None:
        """Write down how a run ended that never began, then take it out of the queue."""
        self.log.warn(
            "run {run} of queue {queue} ends as {state} without having begun: {reason}",
            run=str(carried.run),
            queue=carried.queue,
            state=ending.state.label,
            reason=ending.error,
        )
        sink = await self._store.open_attempt(dag, carried.run, carried.run)
        sink.write_log(ending.error)
        await sink.close(
            replace(
                queued,
                state=ending.state,
                error=ending.error,
                attempt_id=sink.attempt_id,
                log=sink.log,
                worker_id=ending.worker_id or "local",
                finished_at=ending.finished_at,
            )
        )
        await self._queue.remove(carried.queue, carried.run)

    def _begun(self, carried: Carried) -> None:
        carried.begun = True

        async def remove() -> None:
            await self._queue.remove(carried.queue, carried.run)
            self._changed()

        Deferred.fromCoroutine(remove()).addErrback(
            lambda failure: self.log.failure("run {run} cannot leave its queue", failure, run=str(carried.run))
        )


def reason_to_wait(error: Exception) -> str:
    """Why a run cannot start now, for errors that may heal; empty for those that are defects."""
    return str(error) if isinstance(error, (NotNowError, DaguError, OSError)) else ""
