"""The way in: an engine starts runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txdagu.execution.guarding import Guard, GuardedProcesses
from txdagu.execution.interfaces import IProcessRunner, ISlot
from txdagu.execution.preparation import evaluate_inputs, with_log_directory
from txdagu.execution.record import OnStatus
from txdagu.execution.request import RunRequest
from txdagu.execution.run import Run
from txdagu.execution.slot import SharedSlot
from txdagu.execution.steps.context import ChildHandle, Tools
from txdagu.execution.stop import Stop
from txdagu.execution.tracing.export import Exports
from txdagu.model.dag import Dag
from txdagu.model.run import RunStatus
from txdagu.peers.interfaces import ICoordinators
from txdagu.store.interfaces import IRunStore
from txdagu.system.threads import threads_of

__all__ = ["Engine", "ISlot", "Run", "RunRequest"]


class IWatch(Protocol):
    """Gives guards to runs, see `reaping.Watch`."""

    def begin(self) -> Guard:
        """A guard for a run that begins."""

    def end(self, guard: Guard) -> None:
        """The run has ended."""


class Engine:
    """
    Runs DAGs: their commands as processes of this machine, their children here or on workers.

    `clock` is the reactor; files are touched in its threads if it has any. `now` tells the time with its zone. `environ` is the
    environment of this process, `execution_mode` ``auto``, ``local`` or ``distributed``. `find_dag` is called
    with a child's name and the directory of the calling DAG's file, and raises `NotFoundError`. `default_shell` is a command
    line; empty: ``SHELL``, else ``sh``. Without `coordinators` nothing can run on workers, and a step that has to fails.
    `watch` makes a guard for a run that brings none, and is given it back at its end.
    """

    log = Logger()

    def __init__(
        self,
        store: IRunStore,
        coordinators: ICoordinators | None,
        processes: IProcessRunner,
        clock: IReactorTime,
        *,
        now: Callable[[], datetime],
        environ: Mapping[str, str],
        execution_mode: str,
        find_dag: Callable[[str, str], Awaitable[Dag]],
        default_shell: str = "",
        watch: IWatch | None = None,
    ) -> None:
        in_thread = threads_of(clock)
        self._watch = watch
        self._tools = Tools(
            store=store,
            coordinators=coordinators,
            processes=processes,
            clock=clock,
            now=now,
            environ=dict(environ),
            execution_mode=execution_mode,
            find_dag=find_dag,
            default_shell=default_shell,
            in_thread=in_thread,
            start=lambda request, slot: self._begin(request, slot, self._tools),
            exports=Exports(clock, in_thread),
            guard=Guard(),
        )

    def start(
        self,
        request: RunRequest,
        on_status: Callable[[RunStatus], None] | None = None,
        slot: ISlot | None = None,
        guard: Guard | None = None,
    ) -> Run:
        """
        Begin a run and return it.

        `on_status` is called with every new state, the last one included. A `slot` is held now, and is given back while the run
        only waits for children elsewhere. The `guard` watches over it and its children here.
        """
        if guard is not None or self._watch is None:
            return self._begin(request, SharedSlot(slot), self._guarded(guard), on_status)
        watch, watched = self._watch, self._watch.begin()
        run = self._begin(request, SharedSlot(slot), self._guarded(watched), on_status)
        run.wait().addCallback(lambda _: watch.end(watched))
        return run

    def _guarded(self, guard: Guard | None) -> Tools:
        """The tools of a run under that guard, which its children inherit."""
        if guard is None:
            return self._tools

        def begin(request: RunRequest, slot: SharedSlot) -> ChildHandle:
            return self._begin(request, slot, tools)

        processes = GuardedProcesses(self._tools.processes, guard)
        tools = replace(self._tools, guard=guard, processes=processes, start=begin)
        return tools

    async def sent(self) -> None:
        """Wait until the traces of runs that have ended were sent or given up; before the process ends."""
        await self._tools.exports.sent()

    async def evaluated(self, request: RunRequest) -> tuple[Dag, tuple[str, ...]]:
        """
        What is kept of a run that is queued first: its DAG with the directory of its logs evaluated, and the evaluated
        ``NAME=value`` texts of its params.
        """
        stop = Stop()
        inputs = await evaluate_inputs(request, self._tools, stop)
        params = tuple(f"{name}={value}" for name, value in inputs.params.items())
        return await with_log_directory(request, self._tools, stop, inputs), params

    def _begin(self, request: RunRequest, slot: SharedSlot, tools: Tools, on_status: OnStatus | None = None) -> Run:
        run = Run(request, tools, slot, on_status)
        running = Deferred.fromCoroutine(run.execute())
        running.addErrback(lambda failure: self.log.failure("run {run} broke", failure, run=str(request.run)))
        return run
