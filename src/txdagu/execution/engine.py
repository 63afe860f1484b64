"""The way in: an engine starts runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txdagu.execution.interfaces import IProcessRunner, ISlot
from txdagu.execution.preparation import evaluate_inputs, with_log_directory
from txdagu.execution.record import OnStatus
from txdagu.execution.request import RunRequest
from txdagu.execution.run import Run
from txdagu.execution.slot import SharedSlot
from txdagu.execution.steps.context import Tools
from txdagu.execution.stop import Stop
from txdagu.execution.tracing.export import Exports
from txdagu.model.dag import Dag
from txdagu.model.run import RunStatus
from txdagu.peers.interfaces import ICoordinators
from txdagu.store.interfaces import IRunStore
from txdagu.system.threads import threads_of

__all__ = ["Engine", "ISlot", "Run", "RunRequest"]


class Engine:
    """
    Runs DAGs: their commands as processes of this machine, their children here or on workers.

    `clock` is the reactor; files are touched in its threads if it has any. `now` tells the time with its zone. `environ` is the
    environment of this process, `execution_mode` ``auto``, ``local`` or ``distributed``. `find_dag` is called
    with a child's name and the directory of the calling DAG's file, and raises `NotFoundError`. `default_shell` is a command
    line; empty: ``SHELL``, else ``sh``. Without `coordinators` nothing can run on workers, and a step that has to fails.
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
    ) -> None:
        in_thread = threads_of(clock)
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
            start=self._begin,
            exports=Exports(clock, in_thread),
        )

    def start(
        self,
        request: RunRequest,
        on_status: Callable[[RunStatus], None] | None = None,
        slot: ISlot | None = None,
    ) -> Run:
        """
        Begin a run and return it.

        `on_status` is called with every new state, the last one included. A `slot` is held now, and is given back while the run
        only waits for children elsewhere.
        """
        return self._begin(request, SharedSlot(slot), on_status)

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

    def _begin(self, request: RunRequest, slot: SharedSlot, on_status: OnStatus | None = None) -> Run:
        run = Run(request, self._tools, slot, on_status)
        running = Deferred.fromCoroutine(run.execute())
        running.addErrback(lambda failure: self.log.failure("run {run} broke", failure, run=str(request.run)))
        return run
