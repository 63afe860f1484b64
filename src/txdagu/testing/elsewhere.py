"""A worker beside an `EngineHarness`, without network: it takes what the harness's coordinators accept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from twisted.internet.defer import Deferred

from txdagu.execution.engine import Engine, Run
from txdagu.model.run import RunRef
from txdagu.model.task import Task
from txdagu.protocol.conversion import task_from_message, task_to_message
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.engine import BEGINNING, EngineHarness
from txdagu.testing.processes import Behaviour, MemoryProcessRunner
from txdagu.worker.requests import Requests


class WorkerBeside:
    """
    A cluster of a caller and one worker with the same store and another environment.

    `here` and `there` are variables of their environments. Tasks are taken at once, or by `take` where they are `held`; each is
    one of `tasks` and one of `runs`. Cancelling a task cancels its run. `clock` may be a reactor.
    """

    def __init__(
        self,
        directory: str,
        behaviour: Behaviour | None = None,
        *,
        held: bool = False,
        here: Mapping[str, str] | None = None,
        there: Mapping[str, str] | None = None,
        clock: Any = None,
    ) -> None:
        self.coordinators = _Coordinators(self)
        self.caller = EngineHarness(directory, behaviour, coordinators=self.coordinators, environ=here, clock=clock)
        self.processes = MemoryProcessRunner(behaviour)
        self.tasks: list[Task] = []
        self.runs: list[Run] = []
        self.held = held
        clock = self.caller.clock
        self._requests = Requests(clock, self.caller.store, "far", "")
        self._engine = Engine(
            self.caller.store,
            self.coordinators,
            self.processes,
            clock,
            now=lambda: BEGINNING + timedelta(seconds=self.caller.clock.seconds()),
            environ={"PATH": "/far/bin", "SHELL": "/bin/sh", **(there or {})},
            execution_mode="local",
            find_dag=self.caller._find,  # noqa: SLF001 - the two are one
        )

    def accept(self, task: Task) -> None:
        """A coordinator has taken the task."""
        self.tasks.append(task_from_message(task_to_message(task)))
        if not self.held:
            self._begin()

    def take(self) -> Run:
        """The worker begins the task that was accepted last, as one that it was handed, perhaps, after another worker."""
        before = len(self.runs)
        preparing = self._begin()
        if len(self.runs) == before:
            preparing.addErrback(lambda failure: failure.raiseException())
            raise AssertionError("the task could not be prepared at once")
        return self.runs[-1]

    def _begin(self) -> Deferred[None]:
        """Fires when the worker has begun the task: at once, unless the clock is a reactor."""
        preparing = Deferred.fromCoroutine(self._requests.prepare(self.tasks[-1], ""))
        return preparing.addCallback(lambda made: self.runs.append(self._engine.start(made.request)))

    def environment(self, number: int = 0) -> Mapping[str, str]:
        """That of a process which the worker has started."""
        return self.processes.started[number].spec.env


class _Coordinators(ScriptedCoordinators):
    """They hand on tasks and requests to end them."""

    def __init__(self, worker: WorkerBeside) -> None:
        super().__init__(taken=worker.accept)
        self._worker = worker

    async def cancel(self, run: RunRef, root: RunRef) -> None:
        """End the run if the worker has it."""
        await super().cancel(run, root)
        for begun in self._worker.runs:
            if begun.request.run == run:
                begun.cancel("its caller asked for it")
