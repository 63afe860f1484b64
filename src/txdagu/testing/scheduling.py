"""A queue consumer over a store in memory, with an engine that does what the test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.request import RunRequest
from txdagu.model.dag import Dag
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.scheduler.carrier import Means
from txdagu.scheduler.consumer import QueueConsumer
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.store import MemoryStore

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
GPU = WorkerSelector({"gpu": "true"})


class HeldRun:
    """A run of this process that goes on until the test ends it."""

    def __init__(self, request: RunRequest, sink: Any) -> None:
        self.request = request
        self.reason = ""
        self._sink = sink
        self._ended: Deferred[RunStatus] = Deferred()

    def wait(self) -> Deferred[RunStatus]:
        """The end."""
        return self._ended

    def cancel(self, reason: str) -> None:
        """End it as aborted."""
        self.reason = reason
        self.end(RunState.ABORTED)

    def end(self, state: RunState = RunState.SUCCEEDED) -> None:
        """End it."""
        status = RunStatus(self.request.run, self.request.root, state)
        Deferred.fromCoroutine(self._sink.close(status)).addCallback(lambda _: self._ended.callback(status))


class HeldEngine:
    """Starts runs that the test ends."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.runs: list[HeldRun] = []
        self.broken = ""

    def start(self, request: RunRequest, on_status: Callable[[RunStatus], None] | None = None) -> Any:
        """Begin, and say so."""
        if self.broken:
            return BrokenRun(RunStatus(request.run, request.root, RunState.FAILED, error=self.broken))
        opening = Deferred.fromCoroutine(self.store.open_attempt(request.dag, request.run, request.root))
        sink: list[Any] = []
        opening.addCallback(sink.append)
        status = RunStatus(request.run, request.root, RunState.RUNNING)
        sink[0].write_status(status)
        run = HeldRun(request, sink[0])
        self.runs.append(run)
        assert on_status is not None
        on_status(status)
        return run

    def names(self) -> list[str]:
        """The ids of all runs that were started, in order."""
        return [run.request.run.id for run in self.runs]


class BrokenRun:
    """A run that could not begin."""

    def __init__(self, status: RunStatus) -> None:
        self._status = status

    def wait(self) -> Deferred[RunStatus]:
        """The end, at once."""
        ended: Deferred[RunStatus] = Deferred()
        ended.callback(self._status)
        return ended

    def cancel(self, reason: str) -> None:
        """It has ended already."""


class ConsumerTestCase(SynchronousTestCase):
    """A consumer over a store in memory."""

    limits: Mapping[str, int] = {}
    mode = "auto"

    def setUp(self) -> None:
        """Make all parts."""
        self.clock = Clock()
        self.store = MemoryStore(self.clock, lambda: BEGINNING + timedelta(seconds=self.clock.seconds()))
        self.engine = HeldEngine(self.store)
        self.coordinators = ScriptedCoordinators()
        self.leads = True
        self.consumer = QueueConsumer(
            Means(self.store, self.store.queue, self.coordinators, self.engine, self.clock, self.mode),
            self.limits,
            lambda: self.leads,
        )
        self.consumer.start()
        self.addCleanup(self.consumer.pause)

    def enqueue(self, run_id: str, queue: str = "q", **dag: Any) -> RunRef:
        """Put a run into a queue."""
        name = dag.pop("name", "job")
        run = RunRef(name, run_id)
        value = replace(Dag(name=name, queue=queue, yaml_text="steps: []\n", max_active_runs=1), **dag)
        status = RunStatus(run, run, RunState.QUEUED)
        self.successResultOf(Deferred.fromCoroutine(self.store.enqueue(value, status, queue)))
        self.settle()
        return run

    def settle(self) -> None:
        """Let everything happen that is to happen now."""
        self.clock.pump([0] * 6)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.settle()

    def items(self) -> list[str]:
        """The ids of the runs that are in queues."""
        return [run.id for _, run in self.successResultOf(Deferred.fromCoroutine(self.store.queue.items()))]

    def status(self, run: RunRef) -> RunStatus:
        """The state of a run."""
        status = self.successResultOf(Deferred.fromCoroutine(self.store.read_status(run, run)))
        assert status is not None
        return status

    def begin(self, run: RunRef) -> Any:
        """A worker begins the run."""
        dag = self.successResultOf(Deferred.fromCoroutine(self.store.read_dag(run, run)))
        assert dag is not None
        sink = self.successResultOf(Deferred.fromCoroutine(self.store.open_attempt(dag, run, run)))
        sink.write_status(RunStatus(run, run, RunState.RUNNING, worker_id="w1"))
        self.settle()
        return sink

    def finish(self, sink: Any, run: RunRef, state: RunState = RunState.SUCCEEDED) -> None:
        """And ends it."""
        self.successResultOf(Deferred.fromCoroutine(sink.close(RunStatus(run, run, state))))
        self.settle()
