"""Queued runs on workers: what is handed in, how long it is followed, and that nothing is lost when a coordinator forgets."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from txdagu.model.errors import InvalidInputError, Problem, UnavailableError
from txdagu.model.health import Health
from txdagu.model.labels import WorkerSelector
from txdagu.model.run import RunStatus
from txdagu.model.status import RunState
from txdagu.model.task import Operation, Task, WorkerStatus
from txdagu.peers.interfaces import WorkersView
from txdagu.testing.scheduling import GPU, ConsumerTestCase


class WorkerTests(ConsumerTestCase):
    """Runs on workers."""

    def test_task(self) -> None:
        """A run with a selector becomes a RETRY of itself, with definition and selector."""
        run = self.enqueue("r1", worker_selector=GPU)
        expected = Task(run, run, Operation.RETRY, "job", selector={"gpu": "true"}, definition="steps: []\n")
        queued = self.status(run).attempt_id
        self.assertTrue(queued)
        self.assertEqual([replace(expected, earlier_attempt=queued)], self.coordinators.tasks)

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
        self.coordinators.refusal = UnavailableError("no coordinator answers")
        self.enqueue("r1", worker_selector=GPU)
        self.enqueue("r2")
        self.assertEqual(["r2"], self.engine.names())
        self.engine.runs[0].end()
        self.coordinators.refusal = None
        self.wait(31)
        self.assertEqual(["r1"], [task.run.id for task in self.coordinators.tasks])

    def test_refused_task_fails_once(self) -> None:
        """T45: a task that no coordinator will ever take fails, with the reason, once."""
        self.coordinators.refusal = InvalidInputError([Problem("the definition is larger than 4 MiB")])
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

    def test_run_that_waits_for_a_person(self) -> None:
        """It needs nobody until then: it is followed no longer, and once it is queued again it is handed in again."""
        run = self.enqueue("r1", worker_selector=GPU)
        sink = self.begin(run)
        self.finish(sink, run, RunState.WAITING)
        self.successResultOf(Deferred.fromCoroutine(self.store.requeue(run)))
        self.wait(3)
        self.assertEqual(2, len(self.coordinators.tasks))
