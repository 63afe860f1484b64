"""A worker's slot while its run waits for children."""

from __future__ import annotations

from dataclasses import replace
from shutil import rmtree
from tempfile import mkdtemp

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txdagu.execution.engine import ISlot, Run
from txdagu.model.dag import ChildCall, Command, Dag, Parallel, Step
from txdagu.model.ids import child_run_id
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import RunRef, RunStatus
from txdagu.model.status import RunState
from txdagu.testing.coordinators import ScriptedCoordinators
from txdagu.testing.engine import EngineHarness
from txdagu.testing.processes import Script, by_command

GPU = WorkerSelector({"gpu": "true"})
ROOT = RunRef("main", "run-1")
CHILD = Dag("child", (Step("c", commands=(Command("work"),)),), yaml_text="name: child\nsteps:\n  - work\n")
CALL = Step("call", child=ChildCall("child"), worker_selector=GPU)


@implementer(ISlot)
class Slots:
    """A slot that writes down who gives and takes; `grant` lets the taker go on."""

    def __init__(self) -> None:
        self.story: list[str] = []
        self.waiting: Deferred[None] = Deferred()

    def release(self) -> None:
        self.story.append("release")

    def acquire(self) -> Deferred[None]:
        self.story.append("acquire")
        self.waiting = Deferred(lambda _: self.story.append("give up"))
        return self.waiting


class SlotTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.slots = Slots()
        directory = mkdtemp()
        self.addCleanup(rmtree, directory)
        self.cluster = EngineHarness(
            directory, by_command([("long", Script(None))]), coordinators=ScriptedCoordinators()
        )
        self.child = RunRef("child", child_run_id("run-1", "call", ""))

    def start(self, *steps: Step) -> Run:
        dag = Dag("main", (CALL, *steps), local_dags={"child": CHILD})
        return self.cluster.engine.start(self.cluster.request(dag), slot=self.slots)

    def child_ends(self) -> None:
        self.cluster.store.put(RunStatus(self.child, ROOT, RunState.SUCCEEDED, attempt_id="aa"))

    def test_given_back_while_waiting(self) -> None:
        """While only a child elsewhere runs, the slot is free; the next step takes one before its process starts."""
        run = self.start(Step("next", commands=(Command("x"),), depends=("call",)))
        self.assertEqual(self.slots.story, ["release"])
        self.child_ends()
        self.assertEqual((self.slots.story, self.cluster.lines()), (["release", "acquire"], []))
        self.slots.waiting.callback(None)
        self.assertIs(self.successResultOf(run.wait()).state, RunState.SUCCEEDED)
        self.assertEqual(self.cluster.lines(), ["x"])

    def test_given_back_while_many_wait(self) -> None:
        """The slot is free once while any number of children run elsewhere, and none of them takes one to begin."""
        items = ("a", "b", "c")
        many = replace(CALL, parallel=Parallel(items=items, max_concurrent=2))
        dag = Dag("main", (many,), local_dags={"child": CHILD})
        run = self.cluster.engine.start(self.cluster.request(dag), slot=self.slots)
        for text in items:
            self.assertEqual(self.slots.story, ["release"])
            child = RunRef("child", child_run_id("run-1", "call", text))
            self.cluster.store.put(RunStatus(child, ROOT, RunState.SUCCEEDED, attempt_id="aa"))
        self.assertIs(self.successResultOf(run.wait()).state, RunState.SUCCEEDED)
        self.assertEqual(self.slots.story, ["release"])

    def test_kept_while_another_step_works(self) -> None:
        """A process beside the waiting keeps the slot, until it has ended."""
        self.start(Step("beside", commands=(Command("long"),)))
        self.assertEqual(self.slots.story, [])
        [process] = self.cluster.processes.running
        process.signal(9)
        self.assertEqual(self.slots.story, ["release"])

    def test_kept_from_step_to_step(self) -> None:
        """Between two steps of a run that waits for nobody the slot stays."""
        steps = (Step("a", commands=(Command("x"),)), Step("b", commands=(Command("y"),), depends=("a",)))
        self.cluster.engine.start(self.cluster.request(Dag("d", steps)), slot=self.slots)
        self.assertEqual((self.slots.story, self.cluster.lines()), ([], ["x", "y"]))

    def test_stop_while_waiting_for_a_slot(self) -> None:
        """A step that waits for a slot again is given up when the run is stopped."""
        run = self.start(Step("next", commands=(Command("x"),), depends=("call",)))
        self.child_ends()
        run.cancel("enough")
        self.assertIs(self.successResultOf(run.wait()).state, RunState.ABORTED)
        self.assertEqual(self.slots.story, ["release", "acquire", "give up"])
        self.assertEqual(self.cluster.lines(), [])

    def test_local_child_that_waits(self) -> None:
        """A child in this process that only waits for its own child elsewhere gives the caller's slot back too."""
        middle = Dag("middle", (Step("m", child=ChildCall("child"), worker_selector=GPU),))
        dag = Dag("main", (Step("s", child=ChildCall("middle")),), local_dags={"middle": middle, "child": CHILD})
        self.cluster.engine.start(self.cluster.request(dag), slot=self.slots)
        self.assertEqual(self.slots.story, ["release"])
