"""What a coordinator that starts again makes of its journal: who waits, who was offered what, who runs what."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.journal import Kept
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Entry
from txdagu.dispatch.turn import Cancellation, Inquiry, Turn
from txdagu.model.errors import ConflictError
from txdagu.model.health import FORGOTTEN_AFTER
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.status import RunState
from txdagu.model.task import Operation
from txdagu.testing.dispatch import DONE, CountedNames, endings, make_poll, make_task, offers, running

FAIL = OnWorkerLost(LostWorkerPolicy.FAIL)


class RestartTestCase(SynchronousTestCase):
    """A core whose every turn is kept, and the cores that come after it."""

    def setUp(self) -> None:
        """The first core."""
        self.names = CountedNames()
        self.core = DispatchCore(self.names)
        self.newest: dict[int, Entry] = {}

    def keep(self, turn: Turn[Any]) -> Turn[Any]:
        """Commit a turn."""
        for entry in turn.entries:
            self.newest[entry.number] = entry
        return turn

    def restart(self, now: float) -> None:
        """The core dies, and another one starts with what was kept."""
        entries = [self.newest[number] for number in sorted(self.newest)]
        is_open = [entry for entry in entries if entry.transition.state is not State.ENDED]
        ended = [entry for entry in entries if entry.transition.state is State.ENDED]
        self.core = DispatchCore(self.names)
        self.core.restore(Kept(tuple(is_open), tuple(ended), len(self.newest)), now)

    def offer(
        self, run_id: str, incarnation: str = "one", now: float = 0.0, lost: OnWorkerLost = OnWorkerLost()
    ) -> Any:
        """A task is accepted and offered."""
        self.keep(self.core.submit(make_task(run_id, lost=lost), now))
        (offer,) = offers(self.keep(self.core.poll(make_poll("w1", incarnation=incarnation), now)))
        return offer

    def start(self, run_id: str, lost: OnWorkerLost = OnWorkerLost()) -> Any:
        """And confirmed."""
        offer = self.offer(run_id, lost=lost)
        self.keep(self.core.ack("w1", offer.token, 0))
        return offer

    def pass_time(self, start: int, end: int) -> list[Any]:
        """What ends while the clock goes from one second to another, as in a process that is awake."""
        return [ending for now in range(start, end + 1) for ending in endings(self.core.tick(now))]


class WaitingTests(RestartTestCase):
    """Tasks that nobody has."""

    def test_order_and_numbers(self) -> None:
        """What waits is served in the order of acceptance, before what comes after the restart."""
        for name in ("r1", "r2", "r3"):
            self.keep(self.core.submit(make_task(name), 0))
        self.restart(100)
        self.keep(self.core.submit(make_task("r4"), 100))
        given = offers(self.core.poll(make_poll("w1", free_slots=1), 101))
        for number in (2, 3, 4):
            given += offers(self.core.poll(make_poll(f"w{number}"), 101))
        self.assertEqual(["r1", "r2", "r3", "r4"], [offer.task.run.id for offer in given])

    def test_dispatch_is_idempotent_across_restarts(self) -> None:
        """A dispatcher that repeats its call after the restart, because the answer was lost, starts nothing."""
        self.keep(self.core.submit(make_task("r1"), 0))
        self.restart(100)
        again = self.core.submit(make_task("r1"), 100)
        self.assertEqual((False, []), (again.answer, again.entries))

    def test_epochs_go_on_after_an_end(self) -> None:
        """The next task of a run that ended before the restart has a higher epoch and a later attempt."""
        offer = self.start("r1")
        self.keep(self.core.report_end("w1", offer.task.root, "r1", offer.epoch, DONE, 1))
        self.restart(2)
        ended = self.core.ended(offer.task.root, "r1")
        assert ended is not None
        self.assertEqual(DONE, ended.outcome)
        again = self.core.report_end("w1", offer.task.root, "r1", offer.epoch, DONE, 3)
        self.assertTrue(again.answer.accepted, "a report whose answer was lost is repeated")
        self.assertGreater(self.offer("r1", now=3).epoch, offer.epoch)


class OfferedTests(RestartTestCase):
    """Tasks that were offered when the coordinator died."""

    def test_ack_after_the_restart(self) -> None:
        """The same token is good, also when the acknowledgement is the first that is heard of its worker."""
        offer = self.offer("r1")
        self.restart(100)
        self.assertTrue(self.core.ack("w1", offer.token, 101).answer.accepted)
        self.core.heartbeat(Beat("w1", {}, "one", slots=2), 102)
        self.assertEqual([], self.core.run_heartbeat("w1", "one", [running(offer.task, offer.epoch)], 102).answer)
        self.assertTrue(self.core.report_end("w1", offer.task.root, "r1", offer.epoch, DONE, 103).answer.accepted)

    def test_nobody_confirms(self) -> None:
        """An offer that never arrived returns to the queue after its time, counted from the restart."""
        offer = self.offer("r1")
        self.restart(100)
        self.core.tick(109)
        self.assertEqual(State.OFFERED, self.core.open_state(offer.task.root, "r1"))
        self.core.tick(110)
        self.assertEqual(State.QUEUED, self.core.open_state(offer.task.root, "r1"))
        self.assertIn("taken back", self.core.ack("w1", offer.token, 111).answer.error)

    def test_worker_was_restarted_meanwhile(self) -> None:
        """An offer to a process that is gone is made to the new one at once."""
        offer = self.offer("r1", "one")
        self.restart(100)
        (again,) = offers(self.core.poll(make_poll("w1", incarnation="two"), 100))
        self.assertEqual(("r1", offer.epoch + 1), (again.task.run.id, again.epoch))
        self.assertFalse(self.core.ack("w1", offer.token, 101).answer.accepted)

    def test_old_peer(self) -> None:
        """Whether a peer that confirms nothing began is looked up as of the time of the offer, not of the restart."""
        offer = self.offer("r1", "")
        self.restart(100)
        self.core.tick(111)
        for now in (112, 113):
            turn = self.core.heartbeat(Beat("w1", {}), now)
        (asked,) = [effect for effect in turn.effects if isinstance(effect, Inquiry)]
        self.assertEqual((offer.task, 113.0), (asked.task, asked.age))

    def test_old_peer_that_never_comes_back(self) -> None:
        """What was given to a peer without leases ends when the peer would be forgotten, and waits for it till then."""
        self.offer("r1", "")
        self.restart(100)
        last = 100 + int(FORGOTTEN_AFTER)
        self.assertEqual([], self.pass_time(100, last - 1))
        (ending,) = self.pass_time(last, last)
        self.assertIn("was silent for 600 s; whether it ran job:r1 is not known", ending.outcome.reason)


class RunningTests(RestartTestCase):
    """Tasks that ran when the coordinator died."""

    def test_grace_of_one_lease(self) -> None:
        """They keep worker and epoch and have one whole lease to be named; then they are lost with the reason."""
        offer = self.start("r1", FAIL)
        self.restart(1000)
        self.assertEqual([], self.pass_time(1000, 1029))
        self.assertEqual([], self.core.run_heartbeat("w1", "one", [running(offer.task, offer.epoch)], 1029).answer)
        self.assertEqual([], self.pass_time(1030, 1058))
        (ending,) = self.pass_time(1059, 1059)
        self.assertEqual("worker w1 was silent for 30 s while running job:r1", ending.outcome.reason)

    def test_outages(self) -> None:
        """T30: after 10 s, 60 s and 10 min without a coordinator the run is still its worker's, and its end is accepted."""
        for outage in (10, 60, 600):
            self.setUp()
            offer = self.start("r1")
            self.restart(outage)
            self.pass_time(outage, outage + 20)
            self.core.heartbeat(Beat("w1", {}, "one", slots=1), outage + 20)
            listed = [running(offer.task, offer.epoch)]
            self.assertEqual([], self.core.run_heartbeat("w1", "one", listed, outage + 20).answer)
            self.assertEqual([], self.pass_time(outage + 21, outage + 45))
            ended = self.core.report_end("w1", offer.task.root, "r1", offer.epoch, DONE, outage + 45)
            self.assertTrue(ended.answer.accepted)

    def test_others_are_told_to_stop(self) -> None:
        """A worker with an older epoch learns after the restart that the run is not its own."""
        offer = self.start("r1")
        self.restart(100)
        (order,) = self.core.run_heartbeat("w2", "x", [running(offer.task, offer.epoch - 1, "key")], 101).answer
        self.assertIn("running at worker w1 in epoch 1", order.reason)

    def test_repeated_ack(self) -> None:
        """An acknowledgement whose answer died with the coordinator is repeated, and renews the lease."""
        offer = self.start("r1", FAIL)
        self.restart(100)
        again = self.core.ack("w1", offer.token, 125)
        self.assertEqual((True, []), (again.answer.accepted, again.entries))
        self.assertEqual([], self.pass_time(126, 154))
        self.assertEqual(1, len(self.pass_time(155, 155)))

    def test_leaving_worker_is_believed_to_have_begun(self) -> None:
        """A worker that leaves after the restart may have begun what it had: it is not started elsewhere."""
        self.start("r1", FAIL)
        self.restart(100)
        self.core.heartbeat(Beat("w1", {}, "one", slots=1), 101)
        (ending,) = endings(self.core.heartbeat(Beat("w1", {}, "one", leaving=True), 102))
        self.assertEqual(RunState.FAILED, ending.outcome.state)

    def test_cancelled_before(self) -> None:
        """Who was to be ended before the restart is to be ended after it, whichever way its worker is told."""
        for incarnation in ("one", ""):
            self.setUp()
            offer = self.offer("r1", incarnation)
            if incarnation:
                self.keep(self.core.ack("w1", offer.token, 0))
            else:
                self.keep(self.core.heartbeat(Beat("w1", {}, running=(running(offer.task, 0, "key"),)), 1))
            self.keep(self.core.cancel(offer.task.root, "r1", "enough", 2))
            self.restart(100)
            listed = (running(offer.task, offer.epoch if incarnation else 0, "key"),)
            told = self.core.heartbeat(Beat("w1", {}, incarnation, 1, 1, listed), 101).answer
            if incarnation:
                told = self.core.run_heartbeat("w1", incarnation, listed, 101).answer
            self.assertIn(Cancellation(offer.task.run, "key", "enough"), told)

    def test_adopted_stays_adopted(self) -> None:
        """Of a run that was found running nobody knows the operation, after the next restart as well."""
        task = make_task("r1")
        self.core.heartbeat(Beat("w1", {}, "one", slots=1), 0)
        self.keep(self.core.run_heartbeat("w1", "one", [running(task, 3)], 0))
        self.restart(100)
        self.assertFalse(self.core.submit(make_task("r1", operation=Operation.RETRY), 101).answer)
        self.start("r2")
        with self.assertRaises(ConflictError):
            self.core.submit(make_task("r2", operation=Operation.RETRY), 101)
