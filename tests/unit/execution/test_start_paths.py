"""Every way to start something goes where the one routing rule says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from txdagu.cli.progress import Silence
from txdagu.cli.running import Foreground, ForegroundRun
from txdagu.dispatch.routing import Place, Route, route
from txdagu.model.dag import ChildCall, Command, Dag, Step
from txdagu.model.health import Health
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
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
WORK = Step("work", commands=(Command("work"),))


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


class StartPathTests(SynchronousTestCase):
    def harness(self, case: Case) -> EngineHarness:
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        return EngineHarness(directory, coordinators=ScriptedCoordinators(case.view), mode=case.mode)

    def check(self, case: Case, way: Route, coordinators: ScriptedCoordinators, here: int) -> None:
        """Either a task with the selector, or something begun here."""
        tasks: list[Mapping[str, str]] = [task.selector for task in coordinators.tasks]
        elsewhere = way.place is Place.WORKER
        self.assertEqual((tasks, here), ([dict(way.selector.labels)], 0) if elsewhere else ([], 1), case)

    def test_start(self) -> None:
        """``dagu start``."""
        for case in cases():
            harness = self.harness(case)
            assert harness.coordinators is not None
            parts = Foreground(harness.store, harness.engine, harness.coordinators, harness.clock, case.mode)
            request = harness.request(Dag("d", (WORK,), worker_selector=case.dag, yaml_text="steps: [work]\n"))
            running = ForegroundRun(parts, request, Silence())
            following = Deferred.fromCoroutine(running.follow())
            self.check(case, case.expected(case.dag), harness.coordinators, len(harness.processes.started))
            running.cancel("the test is over")
            harness.clock.pump([1.0] * 30)
            self.successResultOf(following)

    def test_queue(self) -> None:
        """A run of a queue, when it is its turn; a retry comes this way too."""
        for case in cases():
            harness = self.harness(case)
            store = MemoryStore(harness.clock, harness.engine._tools.now)
            engine, coordinators = HeldEngine(store), ScriptedCoordinators(case.view)
            consumer = QueueConsumer(
                Means(store, store.queue, coordinators, engine, harness.clock, case.mode), {}, lambda: True
            )
            run = RunRef("d", "r1")
            dag = Dag("d", (WORK,), worker_selector=case.dag, yaml_text="steps: [work]\n")
            status = RunStatus(run, run, RunState.QUEUED)
            self.successResultOf(Deferred.fromCoroutine(store.enqueue(dag, status, "q")))
            consumer.start()
            harness.clock.pump([0] * 6)
            self.check(case, case.expected(case.dag), coordinators, len(engine.runs))
            consumer.pause()

    def test_child(self) -> None:
        """A called DAG: its own selector, with that of the calling step laid over it."""
        for case in cases():
            harness = self.harness(case)
            assert harness.coordinators is not None
            child = Dag("child", (WORK,), worker_selector=case.dag, yaml_text="name: child\nsteps: [work]\n")
            call = Step("call", child=ChildCall("child"), worker_selector=case.step)
            harness.start(Dag("d", (call,), local_dags={"child": child}, worker_selector=STEPS[1]))
            way = case.expected(case.dag.overridden_by(case.step))
            self.check(case, way, harness.coordinators, len(harness.processes.started))

    def test_step(self) -> None:
        """A step that calls nothing stays with its run, unless it has a selector of its own."""
        for case in cases():
            harness = self.harness(case)
            assert harness.coordinators is not None
            step = replace(WORK, worker_selector=case.step)
            harness.start(Dag("d", (step,), worker_selector=case.dag))
            way = case.expected(case.step) if case.step else Route(Place.HERE, NONE, "")
            self.check(case, way, harness.coordinators, len(harness.processes.started))
