"""Every way to start something goes where the one routing rule says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.progress import Silence
from txdagu.cli.retry import retry_request
from txdagu.cli.running import Foreground, ForegroundRun
from txdagu.dispatch.routing import Place, Route, route
from txdagu.execution.request import RunRequest
from txdagu.model.dag import ChildCall, Dag, Parallel, Step
from txdagu.model.health import Health
from txdagu.model.labels import WorkerSelector
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.model.task import WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.scheduler.carrier import Means
from txdagu.scheduler.consumer import QueueConsumer
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.engine import EngineHarness
from txdagu.testing.scheduling import HeldEngine
from txdagu.testing.store import MemoryStore

NONE = WorkerSelector()
LOCAL = WorkerSelector(local=True)
OWN = (NONE, WorkerSelector({"gpu": "true", "region": "eu"}), LOCAL)
STEPS = (NONE, WorkerSelector({"gpu": "false"}), LOCAL)
HEALTHY = WorkersView((WorkerStatus("w", {}, Health.HEALTHY, 1, 0),))
NOBODY = WorkersView((WorkerStatus("w", {}, Health.OFFLINE, 1, 0),))
SITUATIONS = (("auto", HEALTHY), ("auto", NOBODY), ("local", HEALTHY), ("distributed", NOBODY))
# Of a type that Dagu does not know, so that every task has to say that it needs a worker of ours.
WORK = Step("work", type="python", script="work()")
LOST = OnWorkerLost(LostWorkerPolicy.FAIL, 7)


@dataclass(frozen=True)
class Case:
    """What is asked for by the DAG and by a step, and in which situation; `expected` is where the rule wants it."""

    dag: WorkerSelector
    step: WorkerSelector
    mode: str
    view: WorkersView

    def expected(self, selector: WorkerSelector) -> Route:
        return route(selector, self.mode, int(self.view is HEALTHY))


def cases() -> Iterator[Case]:
    for dag, step, (mode, view) in product(OWN, STEPS, SITUATIONS):
        yield Case(dag, step, mode, view)


def dag_of(case: Case) -> Dag:
    """The DAG with its own selector."""
    return Dag("d", (WORK,), worker_selector=case.dag, yaml_text="steps: [work]\n", on_worker_lost=LOST)


class StartPathTests(SynchronousTestCase):
    def harness(self, case: Case) -> EngineHarness:
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        return EngineHarness(directory, coordinators=ScriptedCoordinators(case.view), mode=case.mode)

    def check(self, case: Case, way: Route, coordinators: ScriptedCoordinators, here: int) -> None:
        """Either a task with the selector and all that follows from the DAG, or something begun here."""
        tasks: list[Mapping[str, str]] = [task.selector for task in coordinators.tasks]
        for task in coordinators.tasks:
            self.assertEqual((task.on_worker_lost, bool(task.needs)), (LOST, True), case)
            self.assertIsNotNone(task.earlier_attempt, case)
        elsewhere = way.place is Place.WORKER
        self.assertEqual((tasks, here), ([dict(way.selector.labels)], 0) if elsewhere else ([], 1), case)

    def test_start(self) -> None:
        """``dagu start``."""
        for case in cases():
            harness = self.harness(case)
            assert harness.coordinators is not None
            following = self.follow(case, harness, harness.request(dag_of(case)))
            self.check(case, case.expected(case.dag), harness.coordinators, len(harness.processes.started))
            following()

    def follow(self, case: Case, harness: EngineHarness, request: RunRequest) -> Callable[[], object]:
        """Begin a run as a command does; what is returned ends it."""
        assert harness.coordinators is not None
        parts = Foreground(harness.store, harness.engine, harness.coordinators, harness.clock, case.mode)
        running = ForegroundRun(parts, request, Silence())
        following = Deferred.fromCoroutine(running.follow())

        def end() -> object:
            running.cancel("the test is over")
            harness.clock.pump([1.0] * 30)
            return self.successResultOf(following)

        return end

    def test_retry(self) -> None:
        """``dagu retry``, of the whole run and of one step: again where the rule says, wherever it was before."""
        for case, step in product(cases(), ("", "work")):
            harness = self.harness(case)
            assert harness.coordinators is not None
            run = harness.start(dag_of(case))
            self.assertIs(self.successResultOf(run.wait()).state, RunState.SUCCEEDED)
            before = len(harness.processes.started)
            ref = run.request.run
            request = self.successResultOf(Deferred.fromCoroutine(retry_request(harness.store, ref, step)))
            previous = request.previous
            if previous is not None and not step:  # a failure, since of what succeeded nothing would be run again
                nodes = tuple(replace(node, state=NodeState.FAILED) for node in previous.nodes)
                request = replace(request, previous=replace(previous, nodes=nodes))
            following = self.follow(case, harness, request)
            way = case.expected(case.dag)
            self.check(case, way, harness.coordinators, len(harness.processes.started) - before)
            self.assertEqual([task.step for task in harness.coordinators.tasks], [step] * (way.place is Place.WORKER))
            following()

    def test_queue(self) -> None:
        """A run of a queue, when it is its turn."""
        for case in cases():
            harness = self.harness(case)
            store = MemoryStore(harness.clock, harness.engine._tools.now)
            engine, coordinators = HeldEngine(store), ScriptedCoordinators(case.view)
            consumer = QueueConsumer(
                Means(store, store.queue, coordinators, engine, harness.clock, case.mode), {}, lambda: True
            )
            run = RunRef("d", "r1")
            dag = dag_of(case)
            status = RunStatus(run, run, RunState.QUEUED)
            self.successResultOf(Deferred.fromCoroutine(store.enqueue(dag, status, "q")))
            consumer.start()
            harness.clock.pump([0] * 6)
            self.check(case, case.expected(case.dag), coordinators, len(engine.runs))
            consumer.pause()

    def test_child(self) -> None:
        """A called DAG, alone or for each item: its own selector, with that of the calling step laid over it."""
        for case, parallel in product(cases(), (None, Parallel(items=("one",)))):
            harness = self.harness(case)
            assert harness.coordinators is not None
            child = replace(dag_of(case), name="child", yaml_text="name: child\nsteps: [work]\n")
            call = Step("call", child=ChildCall("child"), worker_selector=case.step, parallel=parallel)
            harness.start(Dag("d", (call,), local_dags={"child": child}, worker_selector=STEPS[1]))
            way = case.expected(case.dag.overridden_by(case.step))
            self.check(case, way, harness.coordinators, len(harness.processes.started))

    def test_step(self) -> None:
        """A step that calls nothing stays with its run, unless it has a selector of its own."""
        for case in cases():
            harness = self.harness(case)
            assert harness.coordinators is not None
            step = replace(WORK, worker_selector=case.step)
            harness.start(replace(dag_of(case), steps=(step,)))
            way = case.expected(case.step) if case.step else Route(Place.HERE, NONE, "")
            self.check(case, way, harness.coordinators, len(harness.processes.started))
