"""Running one DAG in the foreground: here or on a worker, as the routing rule says, followed to its end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txdagu.cli.following import Family, Follower
from txdagu.cli.progress import ProgressView
from txdagu.config.settings import Settings
from txdagu.dagfile import beyond_dagu
from txdagu.dispatch.routing import Place, Route
from txdagu.execution.assembly import engine, run_store
from txdagu.execution.engine import Engine, Run, RunRequest
from txdagu.execution.reaping import Watch
from txdagu.execution.remote import RemoteRun
from txdagu.execution.stop import Stop
from txdagu.execution.tracing.context import VARIABLE
from txdagu.model.dag import Dag, Handler
from txdagu.model.errors import ConflictError, DaguError
from txdagu.model.run import RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.model.task import Operation, Task
from txdagu.peers.coordinators import Coordinators
from txdagu.peers.interfaces import ICoordinators
from txdagu.peers.routing import find_route
from txdagu.store.interfaces import IRunStore
from txdagu.system.clock import monotonic

# Somebody waits at the terminal: say soon that nobody takes the run, rather than try for minutes as a running DAG does.
DISPATCH_TRIES = 4


@dataclass(frozen=True, slots=True)
class Foreground:
    """What a foreground run needs: where runs live, who executes them here, who hands them to workers."""

    store: IRunStore
    engine: Engine
    coordinators: ICoordinators
    clock: IReactorTime
    execution_mode: str


@asynccontextmanager
async def foreground(settings: Settings, reactor: Any) -> AsyncIterator[Foreground]:
    """The parts as settings say; channels are closed and traces sent at the end."""
    store = run_store(settings, reactor)
    coordinators = Coordinators(settings, reactor, SystemRandom(), monotonic)
    watch = Watch(reactor)
    runs = engine(settings, reactor, store, coordinators, watch)
    coordinators.startService()
    try:
        yield Foreground(store, runs, coordinators, reactor, settings.default_execution_mode)
    finally:
        await coordinators.stopService()
        await runs.sent()
        watch.stop()


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
        self._stop = Stop()
        self._reason = ""
        self._signal = ""

    async def follow(self) -> Family:
        """Start the run, show it while it runs, and return its family as it ended. `ConflictError` if the id is taken."""
        parts, run = self._parts, self._request.run
        if self._request.new and await parts.store.read_status(run, run) is not None:
            raise ConflictError(f"run {run} exists already; choose another --run-id")
        earlier = self._request.previous.attempt_id if self._request.previous is not None else ""
        follower = Follower(parts.store, self._request.run, self._view.show, self._request.root, earlier)
        try:
            decision = await self._route()
            if decision is not None and decision.place is Place.WORKER:
                follower.saw(await self._run_on_worker(follower, dict(decision.selector.labels)))
            else:
                follower.saw(await self._run_here(follower))
            family = await follower.finish()
            self._view.show(family)
            return family
        finally:
            follower.stop()

    async def _route(self) -> Route | None:
        """Where the run belongs; None if it was routed before: a child by its caller, a worker's task by its dispatcher."""
        if self._request.parent is not None or self._request.worker_id != "local":
            return None
        parts, dag = self._parts, self._request.dag
        decision = await find_route(dag.worker_selector, parts.execution_mode, parts.coordinators)
        self.log.info("{dag} runs {place}: {reason}", dag=dag.name, place=decision.place.value, reason=decision.reason)
        return decision

    def cancel(self, reason: str, signal: str = "") -> None:
        """Ask for the run's end; `signal` names the one that we were sent, which steps here are sent too."""
        self._reason, self._signal = reason, signal
        self._stop.request()
        if self._here is not None:
            self._here.cancel(reason, signal)

    def kill(self) -> None:
        """Make it end: SIGKILL to what runs here."""
        self._stop.request(force=True)
        if self._here is not None:
            self._here.kill()

    async def _run_here(self, follower: Follower) -> RunStatus:
        self._here = self._parts.engine.start(self._request, follower.saw)
        if self._reason:
            self._here.cancel(self._reason, self._signal)
        return await self._here.wait()

    async def _run_on_worker(self, follower: Follower, selector: dict[str, str]) -> RunStatus:
        """A new run is written down first, as queued: the worker takes it up from the store, as one that is retried."""
        parts, dag, run, previous = self._parts, self._request.dag, self._request.run, self._request.previous
        if previous is None:
            await parts.store.enqueue(*await queued(parts.engine, self._request), "")
        before = previous or await parts.store.read_status(run, run)
        task = Task(
            run=run,
            root=run,
            operation=Operation.RETRY,
            target=dag.name,
            step=self._request.step,
            selector=selector,
            definition=dag.yaml_text,
            on_worker_lost=dag.on_worker_lost,
            needs=beyond_dagu(dag),
            trace_parent=os.environ.get(VARIABLE, ""),
            earlier_attempt=before.attempt_id if before is not None else None,
        )
        remote = RemoteRun(
            parts.store,
            parts.coordinators,
            parts.clock,
            task,
            clean_up_seconds=dag.max_clean_up_seconds,
            earlier_attempt=previous.attempt_id if previous is not None else "",
            tries=DISPATCH_TRIES,
            waits=self._view.note,
        )
        follower.watch_top(ends=False)
        try:
            return await remote.execute(self._stop)
        except DaguError:
            if previous is None:
                await parts.store.withdraw(run)
            elif self._request.resumes:
                await parts.store.amend(run, run, _waiting_again)
            raise


def _waiting_again(status: RunStatus) -> RunStatus:
    """A run that no worker took up after its rest; one that was begun all the same stays as it is."""
    return replace(status, state=RunState.WAITING) if status.state is RunState.QUEUED else status


async def queued(runs: Engine, request: RunRequest) -> tuple[Dag, RunStatus]:
    """The DAG and the first state of a run that waits, for `IRunStore.enqueue`: evaluated here and now."""
    dag, params = await runs.evaluated(request)
    return dag, RunStatus(request.run, request.root, RunState.QUEUED, params=params)


def exit_code(status: RunStatus) -> int:
    """
    0 for success, a run that waits for a person and one that was stopped; 1 for everything else.

    A partial success is 0 where a child's partial success made it, 1 where a step failed, and so is a wait; a failing handler is
    1, except that for the wait.
    """
    if any(node.state is NodeState.FAILED and handler is not Handler.WAIT for handler, node in status.handlers.items()):
        return 1
    if status.state in (RunState.PARTIALLY_SUCCEEDED, RunState.WAITING):
        return int(any(node.state is NodeState.FAILED and not status.kept(node) for node in status.nodes))
    return 0 if status.state in (RunState.SUCCEEDED, RunState.ABORTED) else 1


def failure_sentence(status: RunStatus) -> str:
    """Why a run did not succeed, in one line: its own error, else that of the first failed step."""
    nodes = (*status.nodes, *status.handlers_begun)
    errors = [status.error, *(node.error for node in nodes if not node.error.startswith("upstream "))]
    return next((error.splitlines()[0] for error in errors if error.strip()), status.state.label)
