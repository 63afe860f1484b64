"""Queued runs find their way: capacity, routing, bad items, and nothing lost when a coordinator forgets."""

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
from txdagu.model.errors import InvalidInputError, Problem, UnavailableError
from txdagu.model.health import Health
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.model.task import Operation, Task, WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.scheduler.consumer import QueueConsumer
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


class Coordinators:
    """Takes tasks in and remembers them."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.cancelled: list[RunRef] = []
        self.ends: dict[str, RunStatus] = {}
        self.view = WorkersView()
        self.error: Exception | None = None

    async def dispatch(self, task: Task) -> None:
        """Accept, or fail as the test wants."""
        if self.error is not None:
            raise self.error
        self.tasks.append(task)

    async def task_status(self, run: RunRef, _root: RunRef) -> RunStatus | None:
        """The end that the test put there."""
        return self.ends.get(run.id)

    async def cancel(self, run: RunRef, _root: RunRef) -> None:
        """Remember it."""
        self.cancelled.append(run)

    async def workers(self) -> WorkersView:
        """The workers that the test put there."""
        return self.view


class Base(SynchronousTestCase):
    """A consumer over a store in memory."""

    limits: Mapping[str, int] = {}
    mode = "auto"

    def setUp(self) -> None:
        """Make all parts."""
        self.clock = Clock()
        self.store = MemoryStore(self.clock, lambda: BEGINNING + timedelta(seconds=self.clock.seconds()))
        self.engine = HeldEngine(self.store)
        self.coordinators = Coordinators()
        self.leads = True
        self.consumer = QueueConsumer(
            self.store,
            self.store.queue,
            self.coordinators,  # type: ignore[arg-type]
            self.engine,
            self.clock,
            self.mode,
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

    def finish(self, sink: Any, run: RunRef) -> None:
        """And ends it."""
        self.successResultOf(Deferred.fromCoroutine(sink.close(RunStatus(run, run, RunState.SUCCEEDED))))
        self.settle()


class HereTests(Base):
    """Runs of this process."""

    def test_runs_in_order_one_at_a_time(self) -> None:
        """A queue of limit one starts its runs one after the other, each the moment the one before has ended."""
        for name in ("r1", "r2", "r3"):
            self.enqueue(name)
        self.assertEqual(["r1"], self.engine.names())
        self.assertEqual(["r2", "r3"], self.items())
        self.engine.runs[0].end()
        self.settle()
        self.engine.runs[1].end(RunState.FAILED)
        self.settle()
        self.assertEqual(["r1", "r2", "r3"], self.engine.names())
        self.assertEqual([], self.items())

    def test_queued_state_is_taken_up(self) -> None:
        """The engine gets the queued attempt as the previous one, with its time of queueing and its params."""
        run = self.enqueue("r1")
        request = self.engine.runs[0].request
        assert request.previous is not None
        self.assertEqual((run, RunState.QUEUED), (request.run, request.previous.state))
        self.assertEqual(request.previous.queued_at, request.queued_at)

    def test_queues_do_not_wait_for_each_other(self) -> None:
        """A long run in one queue does not hold up another queue."""
        self.enqueue("slow", "a")
        self.enqueue("next", "a")
        self.enqueue("quick", "b")
        self.assertEqual(["slow", "quick"], self.engine.names())

    def test_first_items_limit(self) -> None:
        """A queue that is not configured takes as many as its first run's DAG allows, at least one."""
        for number in range(4):
            self.enqueue(f"r{number}", max_active_runs=2)
        self.assertEqual(2, len(self.engine.runs))
        self.enqueue("z0", "zero", max_active_runs=0)
        self.assertIn("z0", self.engine.names())

    def test_foreign_runs_count(self) -> None:
        """T48: runs of the queue that others execute take places of it."""
        run = RunRef("job", "alien")
        dag = Dag(name="job", queue="q")
        sink = self.successResultOf(Deferred.fromCoroutine(self.store.open_attempt(dag, run, run)))
        self.enqueue("r1")
        self.assertEqual([], self.engine.names())
        self.finish(sink, run)
        self.wait(1)
        self.assertEqual(["r1"], self.engine.names())

    def test_run_that_cannot_begin(self) -> None:
        """A run that did not begin because the disk is full stays queued, is tried again later, and holds up nobody."""
        self.engine.broken = "no space left on device"
        self.enqueue("r1")
        self.assertEqual(["r1"], self.items())
        self.engine.broken = ""
        self.enqueue("r2")
        self.assertEqual(["r2"], self.engine.names())
        self.engine.runs[0].end()
        self.wait(31)
        self.assertEqual(["r2", "r1"], self.engine.names())

    def test_only_the_leader_starts(self) -> None:
        """T26: whoever does not lead starts nothing; when it leads again it goes on."""
        self.leads = False
        self.enqueue("r1")
        self.wait(10)
        self.assertEqual([], self.engine.names())
        self.leads = True
        self.wait(1)
        self.assertEqual(["r1"], self.engine.names())

    def test_end_with_patience(self) -> None:
        """At the end runs get their time, then they are cancelled; the stop is over when they are, and nothing more starts."""
        self.enqueue("r1")
        self.enqueue("r2")
        stopping = Deferred.fromCoroutine(self.consumer.stop(30))
        self.clock.pump([1] * 29)
        self.assertEqual("", self.engine.runs[0].reason)
        self.assertNoResult(stopping)
        self.clock.pump([1] * 2)
        self.assertEqual("the scheduler is shutting down", self.engine.runs[0].reason)
        self.successResultOf(stopping)
        self.assertEqual(["r1"], self.engine.names())
        self.assertEqual(["r2"], self.items())


class LimitTests(Base):
    """Configured queues."""

    limits = {"q": 3, "none": 0}

    def test_configured_limit(self) -> None:
        """The configured limit counts, whatever the DAGs say; less than one is one."""
        for number in range(5):
            self.enqueue(f"r{number}", max_active_runs=9)
        self.enqueue("n0", "none")
        self.enqueue("n1", "none")
        self.assertEqual(["r0", "r1", "r2", "n0"], self.engine.names())


class WorkerTests(Base):
    """Runs on workers."""

    def test_task(self) -> None:
        """A run with a selector becomes a RETRY of itself, with definition and selector."""
        run = self.enqueue("r1", worker_selector=GPU)
        expected = Task(run, run, Operation.RETRY, "job", selector={"gpu": "true"}, definition="steps: []\n")
        self.assertEqual([expected], self.coordinators.tasks)

    def test_item_leaves_when_the_run_begins(self) -> None:
        """The item stays until a worker has begun the run, and then goes; the place is free at its end, at once."""
        run = self.enqueue("r1", worker_selector=GPU)
        self.enqueue("r2", worker_selector=GPU)
        self.wait(3)
        self.assertEqual(["r1", "r2"], self.items())
        sink = self.begin(run)
        self.assertEqual(["r2"], self.items())
        self.assertEqual(1, len(self.coordinators.tasks))
        self.finish(sink, run)
        self.assertEqual(2, len(self.coordinators.tasks))

    def test_handed_in_again_while_it_waits(self) -> None:
        """A coordinator that lost its memory gets the task again, the same one."""
        self.enqueue("r1", worker_selector=GPU)
        self.wait(65)
        self.assertEqual(3, len(self.coordinators.tasks))
        self.assertEqual(1, len({task.key for task in self.coordinators.tasks}))

    def test_end_at_the_coordinator_is_written_down(self) -> None:
        """A run that the coordinator ended before it began ends in the store too, and is not handed in again."""
        run = self.enqueue("r1", worker_selector=GPU)
        self.coordinators.ends["r1"] = RunStatus(run, run, RunState.ABORTED, error="cancelled: asked for by ada")
        self.wait(40)
        status = self.status(run)
        self.assertEqual((RunState.ABORTED, "cancelled: asked for by ada"), (status.state, status.error))
        self.assertEqual([], self.items())
        self.assertEqual(1, len(self.coordinators.tasks))

    def test_dequeued_run_is_cancelled(self) -> None:
        """A run that somebody took out of the queue while it waited for a worker is not given to one afterwards."""
        run = self.enqueue("r1", worker_selector=GPU)
        self.successResultOf(Deferred.fromCoroutine(self.store.queue.remove("q", run)))
        self.successResultOf(Deferred.fromCoroutine(self.store.withdraw(run)))
        self.wait(1)
        self.assertEqual([run], self.coordinators.cancelled)

    def test_unreachable_coordinators(self) -> None:
        """While no coordinator takes it the run stays queued, does not block the queue, and goes later."""
        self.coordinators.error = UnavailableError("no coordinator answers")
        self.enqueue("r1", worker_selector=GPU)
        self.enqueue("r2")
        self.assertEqual(["r2"], self.engine.names())
        self.engine.runs[0].end()
        self.coordinators.error = None
        self.wait(31)
        self.assertEqual(["r1"], [task.run.id for task in self.coordinators.tasks])

    def test_refused_task_fails_once(self) -> None:
        """T45: a task that no coordinator will ever take fails, with the reason, once."""
        self.coordinators.error = InvalidInputError([Problem("the definition is larger than 4 MiB")])
        run = self.enqueue("r1", worker_selector=GPU)
        self.wait(1)
        status = self.status(run)
        self.assertEqual(RunState.FAILED, status.state)
        self.assertIn("larger than 4 MiB", status.error)
        self.assertEqual([], self.items())

    def test_auto_mode_asks_who_is_there(self) -> None:
        """Without a selector a run goes to a worker if a healthy one is there, else it runs here."""
        self.enqueue("r1", "a")
        worker = WorkerStatus("w1", {}, Health.HEALTHY, 1, 0)
        self.coordinators.view = WorkersView((replace(worker, health=Health.UNHEALTHY),))
        self.enqueue("r2", "b")
        self.coordinators.view = WorkersView((worker,))
        self.enqueue("r3", "c")
        self.assertEqual(["r1", "r2"], self.engine.names())
        self.assertEqual(["r3"], [task.run.id for task in self.coordinators.tasks])

    def test_local_selector(self) -> None:
        """``workerSelector: local`` stays, whoever is there."""
        self.coordinators.view = WorkersView((WorkerStatus("w1", {}, Health.HEALTHY, 1, 0),))
        self.enqueue("r1", worker_selector=WorkerSelector(local=True))
        self.assertEqual(["r1"], self.engine.names())

    def test_replaced_leader_lets_go(self) -> None:
        """Who loses the lead follows nothing any more; the next leader hands the same task in, and one runs."""
        self.enqueue("r1", worker_selector=GPU)
        self.consumer.pause()
        self.wait(60)
        self.assertEqual(1, len(self.coordinators.tasks))
        self.assertEqual(["r1"], self.items())
        self.consumer.start()
        self.settle()
        self.assertEqual(2, len(self.coordinators.tasks))


class BadItemTests(Base):
    """Items that cannot be run."""

    def test_run_that_does_not_exist(self) -> None:
        """An item without a run is dropped, and the run behind it starts."""
        self.store.queue.add("q", RunRef("job", "ghost"))
        self.enqueue("r1")
        self.wait(1)
        self.assertEqual(["r1"], self.engine.names())
        self.assertEqual([], self.items())

    def test_run_that_is_not_queued(self) -> None:
        """T45: an item whose run has ended already is dropped without running it again."""
        run = self.enqueue("r1")
        self.engine.runs[0].end()
        self.settle()
        self.store.queue.add("q", run)
        self.wait(2)
        self.assertEqual((["r1"], []), (self.engine.names(), self.items()))

    def test_unreadable_snapshot_fails(self) -> None:
        """A run whose snapshot this version cannot execute ends as failed with the reason; the next one starts."""
        original = self.store.read_dag

        async def read_dag(run: RunRef, root: RunRef) -> Dag | None:
            if run.id == "bad":
                raise InvalidInputError([Problem("step a: executor ssh is not supported", "dag.json")])
            return await original(run, root)

        self.store.read_dag = read_dag  # type: ignore[method-assign]
        bad = self.enqueue("bad")
        self.enqueue("good")
        self.wait(1)
        self.assertEqual(["good"], self.engine.names())
        self.assertEqual((RunState.FAILED, True), (self.status(bad).state, "ssh" in self.status(bad).error))
