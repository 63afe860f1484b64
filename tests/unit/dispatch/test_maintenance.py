"""Cordon, drain and hand-back, in the core's own time."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.journal import MemoryJournal
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit
from txdagu.dispatch.turn import Turn
from txdagu.model.health import Health
from txdagu.model.labels import Labels
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.standing import Action, Mode, Ordered, WorkerOrder
from txdagu.model.status import RunState
from txdagu.testing.dispatch import DONE, CoreTestCase, CountedNames, endings, make_poll, make_task, offers, running

ROOT = RunRef("job", "r1")
GPU = {"gpu": "true"}
FAIL = OnWorkerLost(LostWorkerPolicy.FAIL)
WAIT = OnWorkerLost(LostWorkerPolicy.WAIT)
UNIX = 1_767_350_520.0  # 2026-01-02 10:42 UTC when the core's clock shows 0


class MaintenanceTestCase(CoreTestCase):
    """Short ways to give orders."""

    def order(
        self, action: Action, *ids: str, now: float = 0.0, patience: float | None = None, selector: Labels | None = None
    ) -> Turn[Ordered]:
        """Give an order."""
        order = WorkerOrder(action, ids, selector or {}, "disk swap", "ada@host1", patience)
        return self.core.order(order, now)

    def beat(self, worker: str, now: float, *listed: Any, **more: Any) -> Turn[Any]:
        """A heartbeat of a worker with two slots."""
        return self.core.heartbeat(Beat(worker, {}, "one", 2, len(listed), listed, **more), now)


class CordonTests(MaintenanceTestCase):
    """No new tasks."""

    def test_gets_nothing(self) -> None:
        """A cordoned worker is offered nothing, what it runs goes on, and the verdict says since when and why."""
        offer = self.started()
        self.core.poll(make_poll("w1"), 1)
        self.order(Action.CORDON, "w1")
        self.assertEqual([], offers(self.core.submit(make_task("r2"), 2)))
        self.assertEqual([], offers(self.beat("w1", 3)))
        (verdict,) = self.core.explain(RunRef("job", "r2"), "r2", 3, UNIX + 3)
        self.assertEqual(
            (Fit.CORDONED, "cordoned since 2026-01-02 10:42 UTC: disk swap"), (verdict.fit, verdict.reason)
        )
        self.assertTrue(self.core.report_end("w1", ROOT, "r1", offer.epoch, DONE, 4).answer.accepted)

    def test_resume(self) -> None:
        """A worker that may have tasks again gets the waiting one with the order itself, through the call that waited."""
        self.core.poll(make_poll("w1"), 0)
        self.order(Action.CORDON, "w1")
        self.core.submit(make_task("r1"), 1)
        (offer,) = offers(self.order(Action.RESUME, "w1", now=2))
        self.assertEqual("w1", offer.poll.worker_id)
        (worker,) = self.core.workers(2, UNIX)
        self.assertIsNone(worker.standing)

    def test_unconfirmed_offers_are_taken_back(self) -> None:
        """An offer that the worker has not confirmed goes elsewhere, and its confirmation is refused."""
        offer = self.offered()
        self.core.poll(make_poll("w2"), 0)
        (other,) = offers(self.order(Action.CORDON, "w1", now=1))
        self.assertEqual("w2", other.poll.worker_id)
        self.assertFalse(self.core.ack("w1", offer.token, 2).answer.accepted)

    def test_nothing_wanders(self) -> None:
        """All workers of a selector are closed before anything is taken back, so that no offer goes from one to the next."""
        for name in ("w1", "w2"):
            self.core.poll(make_poll(name, GPU), 0)
        self.core.submit(make_task("r1", GPU), 0)
        turn = self.order(Action.CORDON, selector=GPU, now=1)
        self.assertEqual((("w1", "w2"), []), (turn.answer.workers, offers(turn)))
        self.assertEqual(State.QUEUED, self.state("r1"))

    def test_nobody_of_that_name(self) -> None:
        """Ids that nobody has are told, and nothing is kept of them; others are reached all the same."""
        self.core.poll(make_poll("w1"), 0)
        turn = self.order(Action.CORDON, "w1", "w9")
        self.assertEqual(Ordered(("w1",), ("w9",)), turn.answer)
        self.assertEqual(["w1"], [entry.worker_id for entry in turn.standings])

    def test_again(self) -> None:
        """The same order again changes its reason and limit, not since when it holds."""
        self.core.poll(make_poll("w1"), 0)
        self.order(Action.DRAIN, "w1", now=1)
        self.order(Action.DRAIN, "w1", now=5, patience=10)
        (worker,) = self.core.workers(6, 6)
        assert worker.standing is not None
        self.assertEqual((1.0, 15.0), (worker.standing.since, worker.standing.until))

    def test_survives_restarts(self) -> None:
        """It holds by worker id: for the coordinator and the worker that come after a restart, and while nobody is there."""
        journal = MemoryJournal()
        self.core.poll(make_poll("w1"), 0)
        turn = self.order(Action.CORDON, "w1", now=5)
        self.successResultOf(Deferred.fromCoroutine(journal.commit(turn.entries, turn.standings)))
        self.core = DispatchCore(CountedNames())
        self.core.restore(self.successResultOf(Deferred.fromCoroutine(journal.load())), 10)
        (absent,) = self.core.workers(10, UNIX + 10)
        assert absent.standing is not None
        self.assertEqual((Health.OFFLINE, UNIX + 5), (absent.health, absent.standing.since))
        self.core.submit(make_task("r1"), 11)
        self.assertEqual([], offers(self.core.poll(make_poll("w1", incarnation="two"), 12)))
        self.core.heartbeat(Beat("w1", {}, "three", gone=("two",)), 13)
        self.assertEqual([], offers(self.core.poll(make_poll("w1", incarnation="three"), 13)))
        turn = self.order(Action.RESUME, "w1", now=14)
        self.assertEqual(1, len(offers(turn)))
        self.successResultOf(Deferred.fromCoroutine(journal.commit(turn.entries, turn.standings)))
        self.assertEqual((), self.successResultOf(Deferred.fromCoroutine(journal.load())).standings)


class DrainTests(MaintenanceTestCase):
    """What runs has until the deadline."""

    def recalled(self, lost: OnWorkerLost = OnWorkerLost()) -> Any:
        """A run whose worker is being drained and whose time is over; returns its offer."""
        offer = self.started(lost=lost)
        self.order(Action.DRAIN, "w1", now=0, patience=10)
        self.assertEqual([], self.told(offer, 9))
        self.core.tick(10)
        return offer

    def told(self, offer: Any, now: float) -> list[Any]:
        """What its worker is told to do with the run."""
        listed = running(offer.task, offer.epoch, "key")
        beat: list[Any] = self.beat("w1", now, listed).answer
        renewed = self.core.run_heartbeat("w1", "one", [listed], now).answer
        self.assertEqual(beat, renewed)
        return beat

    def test_handed_back(self) -> None:
        """At the deadline the worker is told to hand back; then another goes on, and no worker counts as lost."""
        offer = self.recalled()
        (order,) = self.told(offer, 11)
        self.assertTrue(order.hand_back)
        self.assertEqual(order.reason, "worker w1 is being drained, and the time for that is over (disk swap)")
        self.assertEqual(State.RUNNING, self.state("r1"))
        self.core.poll(make_poll("w1"), 11)
        turn = self.core.hand_back("w1", ROOT, "r1", offer.epoch, "it was drained", 12)
        self.assertEqual((True, []), (turn.answer.accepted, offers(turn)))
        self.assertEqual("worker w1 handed it back: it was drained; waits again", self.why("r1"))
        (other,) = offers(self.core.poll(make_poll("w2"), 13))
        self.assertEqual(2, other.epoch)
        self.assertEqual((), turn.entries[-1].lost_workers)

    def test_said_twice(self) -> None:
        """A hand-back that is said again is accepted while nobody else has the task, and refused with the reason after that."""
        offer = self.recalled()
        for now in (11, 12):
            turn = self.core.hand_back("w1", ROOT, "r1", offer.epoch, "drained", now)
            self.assertTrue(turn.answer.accepted)
        self.assertEqual([], turn.entries)
        self.core.poll(make_poll("w2"), 13)
        answer = self.core.hand_back("w1", ROOT, "r1", offer.epoch, "drained", 14).answer
        self.assertEqual("stale attempt: run r1 is offered at worker w2 in epoch 2", answer.error)

    def test_ends_by_itself(self) -> None:
        """A run that ends in time, or meanwhile, has ended with its own result."""
        offer = self.recalled()
        self.assertTrue(self.core.report_end("w1", ROOT, "r1", offer.epoch, DONE, 11).answer.accepted)
        self.assertEqual(State.ENDED, self.state("r1"))

    def test_not_empty_too_soon(self) -> None:
        """A worker that has just confirmed a task, or has not reported its end, is not shown as idle."""
        offer = self.started()
        (worker,) = self.core.workers(0, UNIX)
        self.assertEqual([offer.task.run], [one.run for one in worker.running])
        self.beat("w1", 1, running(offer.task, offer.epoch, "key"))
        self.beat("w1", 2)
        (worker,) = self.core.workers(2, UNIX)
        self.assertEqual(1, len(worker.running))
        self.core.report_end("w1", ROOT, "r1", offer.epoch, DONE, 3)
        (worker,) = self.core.workers(3, UNIX)
        self.assertEqual((), worker.running)

    def test_without_deadline(self) -> None:
        """A drain without a deadline waits for as long as it takes."""
        offer = self.started()
        self.order(Action.DRAIN, "w1")
        for second in range(1, 100):
            self.core.tick(second)
            self.assertEqual([], self.told(offer, second))

    def test_may_not_run_twice(self) -> None:
        """With onWorkerLost: fail nothing is begun twice: at the deadline the run is cancelled, with that reason."""
        offer = self.recalled(FAIL)
        (order,) = self.told(offer, 11)
        self.assertFalse(order.hand_back)
        self.assertIn("no other worker may go on with it: onWorkerLost is fail", order.reason)
        turn = self.core.hand_back("w1", ROOT, "r1", offer.epoch, "drained", 12)
        self.assertEqual([RunState.ABORTED], [ending.outcome.state for ending in endings(turn)])

    def test_waits_only_for_lost_workers(self) -> None:
        """With onWorkerLost: wait a run is handed back too: its worker is not lost, and has stopped it for sure."""
        self.assertTrue(self.told(self.recalled(WAIT), 11)[0].hand_back)

    def test_cancelled_meanwhile(self) -> None:
        """Somebody's wish for the end comes first: the task is not begun again, however its worker stopped it."""
        offer = self.recalled()
        self.core.cancel(ROOT, "r1", "asked", 11)
        (order,) = self.told(offer, 11)
        self.assertEqual((False, "asked"), (order.hand_back, order.reason))
        turn = self.core.hand_back("w1", ROOT, "r1", offer.epoch, "drained", 12)
        self.assertEqual([RunState.ABORTED], [ending.outcome.state for ending in endings(turn)])

    def test_children_go_on(self) -> None:
        """The children of a run that is handed back go on: whoever goes on with it finds them again."""
        offer = self.started()
        child = make_task("c1", parent=offer.task.run, root=offer.task.root)
        self.core.submit(child, 1)
        self.order(Action.DRAIN, "w1", now=1, patience=0)
        self.core.hand_back("w1", ROOT, "r1", offer.epoch, "drained", 2)
        self.assertEqual(State.QUEUED, self.core.open_state(offer.task.root, "c1"))

    def test_worker_that_comes_back_late(self) -> None:
        """The deadline holds for a worker that was away when it came: it is told with its first heartbeat."""
        offer = self.started(lost=WAIT)
        self.order(Action.DRAIN, "w1", now=0, patience=40)
        self.step_to(0, 700)
        self.assertTrue(self.told(offer, 701)[0].hand_back)

    def test_worker_of_dagu(self) -> None:
        """A worker of Dagu can hand nothing back: it gets nothing new, and its runs take their time."""
        self.core.submit(make_task("r1"), 0)
        self.core.poll(make_poll("old", incarnation=""), 0)
        listed = running(make_task("r1"))
        self.core.heartbeat(Beat("old", {}, "", 2, 1, (listed,)), 1)
        self.order(Action.DRAIN, "old", now=1, patience=0)
        self.core.poll(make_poll("old", incarnation=""), 2)
        self.assertEqual([], offers(self.core.submit(make_task("r2"), 2)))
        self.assertEqual([], self.core.heartbeat(Beat("old", {}, "", 2, 1, (listed,)), 3).answer)
        self.assertEqual(State.RUNNING, self.state("r1"))


class LeavingTests(MaintenanceTestCase):
    """Workers that shut down and say so in their heartbeats."""

    def test_leaving(self) -> None:
        """It gets nothing, is shown as draining with its deadline, and loses the offers that it has not confirmed."""
        offer = self.offered()
        self.beat("w1", 1, drain_left=30.0)
        (worker,) = self.core.workers(1, 1)
        assert worker.standing is not None
        self.assertEqual((Mode.DRAINING, 31.0), (worker.standing.mode, worker.standing.until))
        self.assertFalse(self.core.ack("w1", offer.token, 2).answer.accepted)
        self.assertEqual([], offers(self.core.poll(make_poll("w1"), 2)))

    def test_its_next_life(self) -> None:
        """The process that comes after it under the same id gets tasks, at once."""
        self.beat("w1", 1, drain_left=30.0)
        self.core.submit(make_task("r1"), 2)
        self.core.heartbeat(Beat("w1", {}, "two", gone=("one",)), 3)
        self.assertEqual(1, len(offers(self.core.poll(make_poll("w1", incarnation="two"), 3))))

    def test_hands_back_unasked(self) -> None:
        """What it hands back goes elsewhere at once, with a later epoch."""
        offer = self.started()
        self.core.poll(make_poll("w2"), 0)
        turn = self.core.hand_back("w1", ROOT, "r1", offer.epoch, "worker w1 is shutting down", 5)
        (other,) = offers(turn)
        self.assertEqual(("w2", 2), (other.poll.worker_id, other.epoch))
