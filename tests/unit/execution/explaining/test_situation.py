"""Facts about a run, gathered from a store in memory and a cluster that says what the test wants."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from txdagu.config.settings import PathSettings, QueueSettings, Settings
from txdagu.dispatch.explanation import Explanation
from txdagu.dispatch.machine import State
from txdagu.execution.explaining.situation import Situation, Situations, Sources
from txdagu.execution.singlestep import run_name
from txdagu.model.dag import ChildCall, Dag, Step
from txdagu.model.errors import NotFoundError
from txdagu.model.health import Health
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import ChildRun, NodeStatus, RunRef, RunStatus
from txdagu.model.status import NodeState, RunState
from txdagu.model.task import WorkerStatus
from txdagu.peers.interfaces import IExplainer
from txdagu.peers.told import ClusterWord, Listed, Told
from txdagu.store.errors import CorruptRecordError
from txdagu.testing.coordinators import ScriptedExplainer
from txdagu.testing.store import MemoryStore

AT = datetime(2026, 11, 24, 10, 42, 24, tzinfo=UTC)
RUN = RunRef("job", "r1")
PATHS = PathSettings("/d", "/d", "/l", "/a", "/s", "/b", "/runs", "/queues", "/p", "/registry")


class SituationTests(SynchronousTestCase):
    def setUp(self) -> None:
        """A store without runs and a cluster that knows nothing."""
        self.store: Any = MemoryStore(Clock(), lambda: AT)
        self.explainer = ScriptedExplainer()
        self.leaders: tuple[str, ...] = ("s@1",)
        self.settings = Settings(PATHS, queues=QueueSettings(limits={"big": 7}))

    async def schedulers(self) -> tuple[str, ...]:
        """Who empties the queues."""
        return self.leaders

    def look(self, root: RunRef = RUN, child: str = "") -> Deferred[Situation]:
        """What is known of a run."""
        sources = Sources(self.store, self.store.queue, self.explainer, self.schedulers, self.settings, lambda: AT)
        return Deferred.fromCoroutine(Situations(sources).of(root, child))

    def enqueue(self, run: RunRef, queue: str, **dag: Any) -> None:
        """A run in a queue."""
        status = RunStatus(run, run, RunState.QUEUED)
        self.successResultOf(Deferred.fromCoroutine(self.store.enqueue(Dag(run.name, **dag), status, queue)))

    def leave(self, run: RunRef, status: RunStatus) -> None:
        """A run that has come to rest."""
        sink = self.successResultOf(Deferred.fromCoroutine(self.store.open_attempt(Dag(run.name), run, RUN)))
        self.successResultOf(Deferred.fromCoroutine(sink.close(status)))

    def test_double(self) -> None:
        """What stands in for the cluster here has its interface."""
        verifyObject(IExplainer, self.explainer)

    def test_nobody_knows_it(self) -> None:
        """The error names every place that was looked at: files, queue, coordinators asked, those that were silent."""
        told = Told("c@1", AT)
        self.explainer.word = ClusterWord((told,), (Listed("d@1", ()),), ("coordinator e: refused",))
        message = str(self.failureResultOf(self.look(), NotFoundError).value)
        for place in ("/runs", "/queues", "c@1 was asked", "d@1 was asked", "coordinator e: refused"):
            self.assertIn(place, message)

    def test_place_in_a_queue(self) -> None:
        """Position and the nearest before; the limit of the settings counts, else that of the first run's DAG."""
        for number in range(8):
            self.enqueue(RunRef("job", f"r{number}"), "big")
        place = self.successResultOf(self.look(RunRef("job", "r6"))).queue
        assert place is not None
        self.assertEqual((place.position, place.waiting, place.limit, place.limit_from), (7, 8, 7, "queues.config"))
        self.assertEqual([run.id for run in place.before], ["r1", "r2", "r3", "r4", "r5"])
        self.assertEqual((place.alive, place.schedulers), (0, ("s@1",)))
        self.enqueue(RunRef("own", "o1"), "own", max_active_runs=3)
        place = self.successResultOf(self.look(RunRef("own", "o1"))).queue
        assert place is not None
        self.assertEqual((place.position, place.limit, place.limit_from), (1, 3, "maxActiveRuns of own"))

    def test_run_below(self) -> None:
        """A run below is found by its id, that of a single step too; one that is in no file is asked of the coordinators."""
        call = NodeStatus(Step("call", child=ChildCall("sub")), NodeState.RUNNING, children=(ChildRun("k1"),))
        single = NodeStatus(Step("far away"), NodeState.RUNNING, children=(ChildRun("k2"),))
        self.leave(RUN, RunStatus(RUN, RUN, RunState.RUNNING, nodes=(call, single)))
        for run in (RunRef("sub", "k1"), RunRef(run_name("far away"), "k2")):
            self.leave(run, RunStatus(run, RUN, RunState.SUCCEEDED))
            self.assertEqual(self.successResultOf(self.look(RUN, run.id)).run, run)
            self.assertEqual(self.explainer.asked[-1], (run, RUN))
        task = Explanation(RunRef("job", "k9"), RUN, State.QUEUED, 1)
        self.explainer.word = ClusterWord((Told("c@1", AT, task),))
        found = self.successResultOf(self.look(RUN, "k9"))
        self.assertEqual((found.run.id, found.status), ("k9", None))

    def test_damaged_files(self) -> None:
        """Files that cannot be read are a fact, not an end."""

        async def damaged(run: RunRef, root: RunRef) -> None:
            raise CorruptRecordError("/runs/status.jsonl", "line 3 is no JSON")

        self.store.read_status = damaged
        self.assertIn("/runs/status.jsonl", self.successResultOf(self.look()).unreadable)

    def test_only_dagu_coordinators(self) -> None:
        """For a run that waits for one of them, verdicts are made of its list of workers and the run's own snapshot."""
        self.enqueue(RUN, "", worker_selector=WorkerSelector({"gpu": "true"}))
        workers = (
            WorkerStatus("d1", {}, Health.HEALTHY, 1, 0),
            WorkerStatus("d2", {"gpu": "true"}, Health.HEALTHY, 1, 1),
        )
        self.explainer.word = ClusterWord(listed=(Listed("d@1", workers),))
        found = self.successResultOf(self.look())
        self.assertEqual((found.guesses[0].worker_id, found.guesses[0].reason), ("d2", "busy 1 of 1"))
        self.assertIsNone(found.queue)

    def test_steps_that_wait_for_people(self) -> None:
        """They are found in the run and below it."""
        ask = NodeStatus(Step("ask", type="hitl"), NodeState.WAITING)
        call = NodeStatus(Step("call", child=ChildCall("sub")), NodeState.WAITING, children=(ChildRun("k1"),))
        self.leave(RUN, RunStatus(RUN, RUN, RunState.WAITING, nodes=(call,)))
        below = RunRef("sub", "k1")
        self.leave(below, RunStatus(below, RUN, RunState.WAITING, nodes=(ask,)))
        found = self.successResultOf(self.look())
        self.assertEqual([(wait.run, wait.node.step.name) for wait in found.waits], [(below, "ask")])
