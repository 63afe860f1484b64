"""Queued runs of this process: order, capacity, bad items, and the end."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from txdagu.model.dag import Dag
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.store.errors import CorruptRecordError
from txdagu.testing.scheduling import ConsumerTestCase


class HereTests(ConsumerTestCase):
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


class LimitTests(ConsumerTestCase):
    """Configured queues."""

    limits = {"q": 3, "none": 0}

    def test_configured_limit(self) -> None:
        """The configured limit counts, whatever the DAGs say; less than one is one."""
        for number in range(5):
            self.enqueue(f"r{number}", max_active_runs=9)
        self.enqueue("n0", "none")
        self.enqueue("n1", "none")
        self.assertEqual(["r0", "r1", "r2", "n0"], self.engine.names())


class BadItemTests(ConsumerTestCase):
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
        """A run whose snapshot cannot be read ends as failed with the reason; the next one starts."""
        original = self.store.read_dag

        async def read_dag(run: RunRef, root: RunRef) -> Dag | None:
            if run.id == "bad":
                raise CorruptRecordError("dag.json", "it is cut off")
            return await original(run, root)

        self.store.read_dag = read_dag  # type: ignore[method-assign]
        bad = self.enqueue("bad")
        self.enqueue("good")
        self.wait(1)
        self.assertEqual(["good"], self.engine.names())
        self.assertEqual((RunState.FAILED, True), (self.status(bad).state, "cut off" in self.status(bad).error))
