"""What the dispatch core promises when workers fall silent, restart or leave, and when tasks are cancelled or read back."""

from __future__ import annotations

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.journal import Kept
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Outcome, Poll
from txdagu.dispatch.turn import Dismissal, Offer
from txdagu.model.errors import ConflictError
from txdagu.model.health import Health
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.model.task import Operation
from txdagu.protocol.conversion import attempt_key
from txdagu.testing.dispatch import DONE, CoreTestCase, CountedNames, endings, make_poll, make_task, offers, running

FAIL = OnWorkerLost(LostWorkerPolicy.FAIL)


class LeaseTests(CoreTestCase):
    """What happens to tasks whose worker falls silent."""

    def test_expired_lease_fails_the_task_with_the_evidence(self) -> None:
        """T05: a confirmed task of a silent worker that may not run again fails after the lease; worker and run are named."""
        self.started(lost=FAIL)
        self.step_to(0, 29)
        self.assertEqual(State.RUNNING, self.state("r1"))
        (turn,) = self.step_to(29, 30)
        self.assertEqual("worker w1 was silent for 30 s while running job:r1", endings(turn)[0].outcome.reason)
        self.assertEqual([State.LOST, State.ENDED], [entry.transition.state for entry in turn.entries])

    def test_renewed_lease_holds(self) -> None:
        """T24: a task that is renewed each second lives as long as it likes."""
        offer = self.started()
        for second in range(1, 200):
            self.assertEqual([], self.core.run_heartbeat("w1", "one", [running(offer.task, 1)], second).answer)
            self.assertEqual([], self.core.tick(second).entries)
        self.assertEqual(State.RUNNING, self.state("r1"))

    def test_stale_epoch_renews_nothing_and_is_told_so(self) -> None:
        """T23: whoever lists a run of an old epoch is told to end it, with the reason."""
        offer = self.offered(worker="w1")
        self.core.withdraw(offer.poll, 1)
        (again,) = offers(self.core.poll(make_poll("w2"), 1))
        self.core.ack("w2", again.token, 1)
        (order,) = self.core.run_heartbeat("w1", "one", [running(offer.task, 1, "key")], 2).answer
        self.assertEqual(
            ("key", "it was given away: it is running at worker w2 in epoch 2"), (order.attempt_key, order.reason)
        )

    def test_attempt_of_a_lost_journal(self) -> None:
        """T23: epochs begin anew with a new journal; an earlier attempt with the same number ends nothing and is told so."""
        offer = self.started()
        root, now, before = offer.task.root, attempt_key(offer.task.root, offer.task.run, offer.attempt_id), "ab:ffffff"
        self.assertFalse(self.core.report_end("w1", root, "r1", 1, DONE, 1, before).answer.accepted)
        (order,) = self.core.run_heartbeat("w1", "one", [running(offer.task, 1, before)], 1).answer
        self.assertIn("given away", order.reason)
        self.assertEqual([], self.core.run_heartbeat("w1", "one", [running(offer.task, 1, now)], 1).answer)
        self.assertTrue(self.core.report_end("w1", root, "r1", 1, DONE, 1, now).answer.accepted)

    def test_coordinator_that_slept_judges_nobody(self) -> None:
        """A tick that comes a minute late ends no lease before what the workers sent meanwhile was read."""
        offer = self.started()
        self.core.tick(95)
        self.assertEqual(State.RUNNING, self.state("r1"))
        self.core.run_heartbeat("w1", "one", [running(offer.task, 1)], 95.5)
        self.step_to(95, 110)
        self.assertEqual(State.RUNNING, self.state("r1"))

    def test_late_reports(self) -> None:
        """T15, T25: the end of an ended task changes nothing: repeated it is accepted, from somebody else it is refused."""
        self.started("r1")
        root = RunRef("job", "r1")
        self.core.report_end("w1", root, "r1", 1, DONE, 1)
        failed = Outcome(RunState.FAILED, "failed", '{"status":2}')
        self.assertTrue(self.core.report_end("w1", root, "r1", 1, DONE, 2).answer.accepted)
        self.assertIn("stale attempt", self.core.report_end("w2", root, "r1", 1, failed, 2).answer.error)
        ended = self.core.ended(root, "r1")
        assert ended is not None
        self.assertEqual(RunState.SUCCEEDED, ended.outcome.state)

    def test_report_after_lost_lease_is_refused(self) -> None:
        """T23: a worker that comes back after its lease ended cannot turn the verdict."""
        self.started("r1", lost=FAIL)
        self.step_to(0, 31)
        answer = self.core.report_end("w1", RunRef("job", "r1"), "r1", 1, DONE, 40).answer
        self.assertFalse(answer.accepted)
        self.assertIn("silent for 30 s", answer.error)

    def test_unknown_run_is_taken_up(self) -> None:
        """A coordinator that lost its memory takes up what a worker runs, and a second Dispatch of it is the same task."""
        task = make_task("r9")
        self.core.heartbeat(Beat("w1", {}, "one", slots=1), 0)
        self.assertEqual([], self.core.run_heartbeat("w1", "one", [running(task, 7, "key")], 0).answer)
        self.assertEqual(State.RUNNING, self.state("r9"))
        self.assertFalse(self.core.submit(make_task("r9", operation=Operation.RETRY), 1).answer)
        self.assertTrue(self.core.report_end("w1", task.root, "r9", 7, DONE, 2).answer.accepted)


class WorkerTests(CoreTestCase):
    """Workers that restart, leave, and are forgotten."""

    def test_restart_returns_unconfirmed_offers(self) -> None:
        """T20: another incarnation under the same id gives back what the old one had not confirmed, and dismisses its calls."""
        first = make_poll("w1", free_slots=2)
        self.core.poll(first, 0)
        self.core.submit(make_task("r1"), 0)
        parked = make_poll("w1", free_slots=1)
        self.core.poll(parked, 0)
        turn = self.core.heartbeat(Beat("w1", {}, "two", slots=2, gone=("one",)), 1)
        self.assertEqual([parked], [effect.poll for effect in turn.effects if isinstance(effect, Dismissal)])
        self.assertEqual("worker w1 was restarted before it confirmed; waits again", self.why("r1"))

    def test_second_live_worker_of_one_id(self) -> None:
        """T20: a second one is refused with a sentence that says what to do, until the first was silent for a lease."""
        in_use = "worker id 'w1' is in use .* another --worker.id"
        self.core.heartbeat(Beat("w1", {}, "one", slots=1), 0)
        with self.assertRaisesRegex(ConflictError, in_use):
            self.core.heartbeat(Beat("w1", {}, "two", slots=1), 29)
        self.core.heartbeat(Beat("w1", {}, "two", slots=1), 30)
        with self.assertRaisesRegex(ConflictError, in_use):
            self.core.heartbeat(Beat("w1", {}, "one", slots=1), 31)

    def test_restart_after_its_processes_are_gone(self) -> None:
        """What a worker ran goes to another at once when the next one under its id has seen that none of its processes lives."""
        for run_id, lost in (("again", OnWorkerLost()), ("once", FAIL)):
            self.core.submit(make_task(run_id, lost=lost), 0)
            (offer,) = offers(self.core.poll(make_poll("w1"), 0))
            self.core.ack("w1", offer.token, 0)
        self.core.heartbeat(Beat("w1", {}, "two", slots=2, gone=("zero", "one")), 1)
        self.assertEqual([State.QUEUED, State.ENDED], [self.state("again"), self.state("once")])
        self.assertEqual("worker w1 was restarted after 1 s of silence while running job:once", self.why("once"))

    def test_restart_without_that_knowledge(self) -> None:
        """Without it, as on another host, what the old one ran stays its own until the lease ends."""
        self.core.submit(make_task("r1"), 0)
        (offer,) = offers(self.core.poll(make_poll("w1"), 0))
        self.core.ack("w1", offer.token, 0)
        self.core.run_heartbeat("w1", "one", [running(offer.task, 1)], 10)
        self.core.heartbeat(Beat("w1", {}, "two", slots=1, gone=("other",)), 40)
        self.assertEqual(State.RUNNING, self.state("r1"))
        for second in range(40, 50):
            self.core.tick(second)
        self.assertEqual(State.QUEUED, self.state("r1"))

    def test_leaving_worker_hands_back_what_it_did_not_start(self) -> None:
        """A worker that leaves gives back what it never named as running; of the rest, what may not run again has failed."""
        polls: list[Poll] = []
        given: list[Offer] = []
        for name in ("running", "confirmed", "offered"):
            self.core.submit(make_task(name, lost=FAIL), 0)
            polls.append(make_poll("w1", free_slots=3))
            given += offers(self.core.poll(polls[-1], 0))
            if name != "offered":
                self.core.ack("w1", given[-1].token, 0)
        self.core.run_heartbeat("w1", "one", [running(given[0].task, 1)], 1)
        self.core.heartbeat(Beat("w1", {}, "one", leaving=True), 2)
        self.assertEqual(
            [State.ENDED, State.QUEUED, State.QUEUED],
            [self.state(name) for name in ("running", "confirmed", "offered")],
        )
        self.assertEqual("worker w1 left without saying how job:running ended", self.why("running"))
        self.assertEqual([], self.core.workers(2, 0))

    def test_all_workers_die(self) -> None:
        """T19: without any other heartbeat the list shows each word in time, and the worker vanishes after ten minutes."""
        self.core.heartbeat(Beat("w1", {"a": "b"}, "one", slots=3), 0)
        words = [self.core.workers(at, 0)[0].health for at in (4.9, 5, 15, 30, 31)]
        expected = [Health.HEALTHY, Health.WARNING, Health.UNHEALTHY, Health.UNHEALTHY, Health.OFFLINE]
        self.assertEqual(expected, words)
        self.core.tick(599)
        self.assertEqual(1, len(self.core.workers(599, 0)))
        self.assertEqual(600, self.core.next_deadline())
        self.core.tick(600)
        self.assertEqual([], self.core.workers(600, 0))

    def test_changed_labels_count_from_the_next_offer(self) -> None:
        """A worker that beats with new labels gets the tasks which wait for those, and no others."""
        self.core.poll(make_poll("w1", {"zone": "a"}), 0)
        self.core.submit(make_task("r1", {"zone": "b"}), 0)
        turn = self.core.heartbeat(Beat("w1", {"zone": "b"}, "one", slots=1), 1)
        self.assertEqual(["r1"], [offer.task.run.id for offer in offers(turn)])
        self.assertEqual([], offers(self.core.submit(make_task("r2", {"zone": "a"}), 2)))


class CancelTests(CoreTestCase):
    """Ending tasks on request."""

    def test_queued_task_ends_at_once(self) -> None:
        """A waiting task is over as soon as somebody cancels it, and is not offered any more."""
        self.core.submit(make_task("r1"), 0)
        turn = self.core.cancel(RunRef("job", "r1"), "r1", "asked by ada", 1)
        self.assertEqual(RunState.ABORTED, endings(turn)[0].outcome.state)
        self.assertEqual([], offers(self.core.poll(make_poll("w1"), 2)))

    def test_running_task_is_told_with_each_heartbeat(self) -> None:
        """The worker hears of the cancel in both kinds of heartbeat until it reports the end."""
        offer = self.started()
        self.core.cancel(offer.task.root, "r1", "asked by ada", 1)
        (order,) = self.core.run_heartbeat("w1", "one", [running(offer.task, 1, "key")], 2).answer
        self.assertEqual(("key", "asked by ada"), (order.attempt_key, order.reason))
        beat = Beat("w1", {}, "one", 1, 1, (running(offer.task, 1, "key"),))
        self.assertEqual(["asked by ada"], [one.reason for one in self.core.heartbeat(beat, 2).answer])
        self.core.report_end("w1", offer.task.root, "r1", 1, Outcome(RunState.ABORTED, "aborted", "{}"), 3)
        self.assertEqual([], self.core.heartbeat(beat, 4).answer)

    def test_cancelled_offer_cannot_be_confirmed(self) -> None:
        """An offer that was cancelled before the worker confirmed it does not start."""
        offer = self.offered()
        self.core.cancel(offer.task.root, "r1", "asked", 1)
        self.assertFalse(self.core.ack("w1", offer.token, 2).answer.accepted)

    def test_children_end_with_their_parent(self) -> None:
        """When a run ends, its waiting children end and its running ones are told; children of others live on."""
        root = RunRef("job", "r1")
        self.started("r1")
        self.core.submit(make_task("child", parent=root, root=root), 1)
        self.core.submit(make_task("stranger"), 1)
        turn = self.core.report_end("w1", root, "r1", 1, DONE, 2)
        self.assertEqual(["r1", "child"], [ending.task.run.id for ending in endings(turn)])
        self.assertEqual(State.QUEUED, self.state("stranger"))

    def test_lost_task_that_was_cancelled_is_aborted(self) -> None:
        """A worker that dies while it should end a run leaves an aborted run, not a failed one."""
        offer = self.started()
        self.core.cancel(offer.task.root, "r1", "asked", 1)
        turns = self.step_to(1, 31)
        (ending,) = [one for turn in turns for one in endings(turn)]
        self.assertEqual(RunState.ABORTED, ending.outcome.state)


class JournalTests(CoreTestCase):
    """What the journal's entries are good for."""

    def test_reload_brings_everything_back(self) -> None:
        """From the newest entry of each task a fresh core knows what waits, what is offered and what runs."""
        newest = {}
        running_offer = None
        for name in ("r1", "r2", "r3"):
            for entry in self.core.submit(make_task(name), 0).entries:
                newest[entry.number] = entry
        for _ in range(2):
            turn = self.core.poll(make_poll("w1", free_slots=3), 1)
            running_offer = offers(turn)[0]
            for entry in turn.entries:
                newest[entry.number] = entry
            if running_offer.task.run.id == "r1":
                for entry in self.core.ack("w1", running_offer.token, 1).entries:
                    newest[entry.number] = entry
        assert running_offer is not None
        fresh = DispatchCore(CountedNames())
        fresh.restore(Kept(tuple(newest[number] for number in sorted(newest)), last_number=3), 50)
        self.assertEqual(3, len(fresh))
        fresh.heartbeat(Beat("w1", {}, "one", slots=3), 50)
        self.assertTrue(fresh.ack("w1", running_offer.token, 51).answer.accepted)
        self.assertTrue(fresh.report_end("w1", RunRef("job", "r1"), "r1", 1, DONE, 52).answer.accepted)
        self.assertEqual([], fresh.submit(make_task("r3"), 52).entries)
