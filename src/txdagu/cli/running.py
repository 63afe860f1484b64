"""Running one DAG in the foreground: here or on a worker, as the routing rule says, followed to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txdagu.cli.following import Family, Follower
from txdagu.cli.progress import ProgressView
from txdagu.dispatch.routing import Place, needs_census, route
from txdagu.execution.engine import Engine, Run, RunRequest
from txdagu.model.dag import Dag
from txdagu.model.errors import DaguError
from txdagu.model.health import Health
from txdagu.model.run import NodeStatus, RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.model.task import Operation, Task
from txdagu.peers.interfaces import ICoordinators
from txdagu.store.interfaces import IRunStore

TASK_QUESTION_INTERVAL = 2.0


@dataclass(frozen=True, slots=True)
class Foreground:
    """What a foreground run needs: where runs live, who executes them here, who hands them to workers."""

    store: IRunStore
    engine: Engine
    coordinators: ICoordinators
    clock: IReactorTime
    now: Callable[[], datetime]
    execution_mode: str


class ForegroundRun:
    """
    One run that somebody waits for.

    `cancel` asks for its end wherever it is; the run then ends as aborted, which `follow` returns like any other end.
    """

    log = Logger()

    def __init__(self, parts: Foreground, request: RunRequest, view: ProgressView) -> None:
        self._parts = parts
        self._request = request
        self._view = view
        self._here: Run | None = None
        self._cancelled = ""

    async def follow(self) -> Family:
        """Start the run, show it while it runs, and return its family as it ended."""
        parts, dag = self._parts, self._request.dag
        healthy = 0
        if needs_census(dag.worker_selector, parts.execution_mode):
            view = await parts.coordinators.workers()
            healthy = sum(worker.health is Health.HEALTHY for worker in view.workers)
        decision = route(dag.worker_selector, parts.execution_mode, healthy)
        self.log.info("{dag} runs {place}: {reason}", dag=dag.name, place=decision.place.value, reason=decision.reason)
        follower = Follower(parts.store, self._request.run, self._view.show)
        try:
            if decision.place is Place.HERE:
                return await self._run_here(follower)
            return await self._run_on_worker(follower, dict(decision.selector.labels))
        finally:
            follower.stop()

    def cancel(self, reason: str) -> None:
        """Ask for the run's end."""
        self._cancelled = reason
        if self._here is not None:
            self._here.cancel(reason)
        else:
            Deferred.fromCoroutine(self._cancel_remote()).addErrback(
                lambda failure: self.log.failure("while cancelling {run}", failure, run=str(self._request.run))
            )

    async def _cancel_remote(self) -> None:
        run = self._request.run
        await self._parts.coordinators.cancel(run, run)
        await self._parts.store.request_cancel(run, run)

    async def _run_here(self, follower: Follower) -> Family:
        self._here = self._parts.engine.start(self._request, follower.saw)
        if self._cancelled:
            self._here.cancel(self._cancelled)
        follower.saw(await self._here.wait())
        return await follower.finish()

    async def _run_on_worker(self, follower: Follower, selector: dict[str, str]) -> Family:
        parts, request = self._parts, self._request
        dag, run = request.dag, request.run
        await parts.store.enqueue(dag, queued_status(dag, run, request.params, parts.now()), "")
        task = Task(
            run=run, root=run, operation=Operation.RETRY, target=dag.name, selector=selector, definition=dag.yaml_text
        )
        await parts.coordinators.dispatch(task)
        follower.watch_top()
        asking = Deferred.fromCoroutine(self._lost(run))
        try:
            lost = await _first(follower.ended, asking)
        finally:
            asking.addErrback(lambda failure: failure.trap(Exception) and None)
            asking.cancel()
        if isinstance(lost, Family):
            return lost
        follower.saw(lost)
        return await follower.finish()

    async def _lost(self, run: RunRef) -> RunStatus:
        """The coordinator's word on a task that ended without leaving a final status: its worker was lost."""
        while True:
            await _pause(self._parts.clock, TASK_QUESTION_INTERVAL)
            told = await self._parts.coordinators.task_status(run, run)
            if told is None or told.state.active:
                continue
            written = await self._parts.store.read_status(run, run)
            if written is None or written.state.active:
                return told


def queued_status(dag: Dag, run: RunRef, params: str, now: datetime) -> RunStatus:
    """The first state of a run that waits: every step not started, params as they were given."""
    from txdagu.model.params import parse_params

    given = [value if name is None else f"{name}={value}" for name, value in parse_params(params or dag.params)]
    return RunStatus(
        run=run,
        root=run,
        state=RunState.QUEUED,
        nodes=tuple(NodeStatus(step) for step in dag.steps),
        queued_at=now,
        params=tuple(given),
    )


def exit_code(status: RunStatus) -> int:
    """0 for success, a run that waits for a person and one that was stopped; 1 for everything else."""
    return 0 if status.state in (RunState.SUCCEEDED, RunState.WAITING, RunState.ABORTED) else 1


def failure_sentence(status: RunStatus) -> str:
    """Why a run did not succeed, in one line: its own error, else that of the first failed step."""
    if status.error:
        return status.error.splitlines()[0]
    for node in status.nodes:
        if node.error and node.error != "upstream failed":
            return node.error.splitlines()[0]
    return status.state.label


async def _pause(clock: IReactorTime, seconds: float) -> None:
    done: Deferred[None] = Deferred(lambda _: call.cancel())
    call = clock.callLater(seconds, done.callback, None)
    await done


async def _first(ended: Deferred[Family], lost: Deferred[RunStatus]) -> Family | RunStatus:
    from twisted.internet.defer import DeferredList

    results = await DeferredList([ended, lost], fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True)
    winner, _ = results
    if not isinstance(winner, Family | RunStatus):
        raise DaguError(f"the run's end could not be read: {winner!r}")
    return winner
