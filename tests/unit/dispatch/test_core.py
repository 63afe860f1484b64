"""What the dispatch core promises about a single task on its way through workers that confirm offers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit
from txdagu.dispatch.records import Outcome, Poll
from txdagu.dispatch.turn import Dismissal, Ending, Offer, Turn
from txdagu.model.errors import ConflictError
from txdagu.model.health import Health
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.model.task import Operation
from txdagu.testing.dispatch import CountedNames, make_poll, make_task, running

DONE = Outcome(RunState.SUCCEEDED, "succeeded", '{"status":4}')


def offers(turn: Turn[Any]) -> list[Offer]:
    """The offers among a turn's effects."""
    return [effect for effect in turn.effects if isinstance(effect, Offer)]


def endings(turn: Turn[Any]) -> list[Ending]:
    """The endings among a turn's effects."""
    return [effect for effect in turn.effects if isinstance(effect, Ending)]


class Base(SynchronousTestCase):
    """A core and the shortest ways to talk to it."""

    def setUp(self) -> None:
        """A fresh core."""
        self.core = DispatchCore(CountedNames())

    def offered(self, run_id: str = "r1", worker: str = "w1", now: float = 0.0, **poll: object) -> Offer:
        """Submit a task and let a worker poll for it."""
        self.core.submit(make_task(run_id), now)
        (offer,) = offers(self.core.poll(make_poll(worker, **poll), now))  # type: ignore[arg-type]
        return offer

    def started(self, run_id: str = "r1", worker: str = "w1", now: float = 0.0) -> Offer:
        """The same, confirmed."""
        offer = self.offered(run_id, worker, now)
        assert self.core.ack(worker, offer.token, now).answer.accepted
        return offer

    def state(self, run_id: str) -> State:
        """The latest state in the run's timeline."""
        run = RunRef("job", run_id)
        return self.core.timeline(run, run_id)[-1].state

    def why(self, run_id: str) -> str:
        """The latest reason in the run's timeline."""
        return self.core.timeline(RunRef("job", run_id), run_id)[-1].reason

    def step_to(self, start: float, end: float) -> list[Turn[None]]:
        """Tick once a second, as a process does that is awake."""
        return [self.core.tick(start + second) for second in range(1, int(end - start) + 1)]


class HandOverTests(Base):
    """From the queue to a worker."""

    def test_way_of_a_task(self) -> None:
        """A task is queued, offered, confirmed, reported, with one line of timeline and one journal entry for each."""
        task = make_task("r1")
        first = self.core.submit(task, 0)
        second = self.core.poll(make_poll("w1"), 1)
        (offer,) = offers(second)
        third = self.core.ack("w1", offer.token, 2)
        fourth = self.core.report_end("w1", task.root, "r1", offer.epoch, DONE, 3)
        states = [entry.transition.state for turn in (first, second, third, fourth) for entry in turn.entries]
        self.assertEqual([State.QUEUED, State.OFFERED, State.RUNNING, State.ENDED], states)
        self.assertEqual(
            [
                "accepted; waits for a worker",
                "offered to worker w1",
                "worker w1 confirmed",
                "worker w1 reported: succeeded",
            ],
            [line.reason for line in self.core.timeline(task.root, "r1")],
        )
        self.assertEqual(RunState.SUCCEEDED, endings(fourth)[0].outcome.state)
        self.assertEqual(endings(fourth)[0], self.core.ended(task.root, "r1"))
        self.assertEqual(0, len(self.core))

    def test_task_waits_for_a_worker_that_comes_later(self) -> None:
        """T44: the poll of a late worker gets the waiting task in the same turn, without any tick."""
        self.core.submit(make_task("r1", {"gpu": "true"}), 0)
        turn = self.core.poll(make_poll("w1", {"gpu": "true"}), 5)
        self.assertEqual(["r1"], [offer.task.run.id for offer in offers(turn)])

    def test_empty_selector_value_needs_the_label(self) -> None:
        """T49: a selector with an empty value does not match a worker without that label."""
        self.core.poll(make_poll("bare"), 0)
        self.assertEqual([], offers(self.core.submit(make_task("r1", {"k": ""}), 0)))
        self.assertEqual(1, len(offers(self.core.poll(make_poll("blank", {"k": ""}), 0))))

    def test_cancelled_poll_loses_no_task(self) -> None:
        """T01: an offer whose call was cut goes back to the queue at once and to the next worker, with a higher epoch."""
        offer = self.offered(worker="w1")
        self.core.poll(make_poll("w2"), 0)
        turn = self.core.withdraw(offer.poll, 0)
        (again,) = offers(turn)
        self.assertEqual(("w2", 2), (again.poll.worker_id, again.epoch))
        self.assertGreater(again.attempt_name, offer.attempt_name)
        self.assertFalse(self.core.ack("w1", offer.token, 0).answer.accepted)
        self.assertTrue(self.core.ack("w2", again.token, 0).answer.accepted)

    def test_parked_poll_that_is_withdrawn_gets_nothing(self) -> None:
        """T01: a poll that was cut while it waited is never used for an offer."""
        poll = make_poll("w1")
        self.core.poll(poll, 0)
        self.core.withdraw(poll, 1)
        self.assertEqual([], offers(self.core.submit(make_task("r1"), 2)))
        self.assertEqual(State.QUEUED, self.state("r1"))

    def test_unconfirmed_offer_returns_after_its_time(self) -> None:
        """T03: an offer that nobody confirms is offered again after 10 s, not before, and the slot is not lost."""
        self.offered(worker="w1", free_slots=1)
        self.core.poll(make_poll("w2"), 8)
        self.step_to(8, 9)
        self.assertEqual(State.OFFERED, self.state("r1"))
        (turn,) = self.step_to(9, 10)
        (again,) = offers(turn)
        self.assertEqual("w2", again.poll.worker_id)
        self.core.ack("w2", again.token, 10)
        self.assertEqual(
            1, len(offers(self.core.submit(make_task("r2"), 10)) + offers(self.core.poll(make_poll("w1"), 10)))
        )

    def test_ack_is_idempotent(self) -> None:
        """T04: the same worker may confirm the same offer twice; the task runs once and nobody else may confirm it."""
        offer = self.started()
        again = self.core.ack("w1", offer.token, 1)
        self.assertTrue(again.answer.accepted)
        self.assertEqual([], again.entries)
        self.assertIn("made to worker w1", self.core.ack("w2", offer.token, 1).answer.error)

    def test_late_ack_is_refused_with_the_reason(self) -> None:
        """T06: who confirms after the offer was taken back is told why and must not start."""
        offer = self.offered()
        self.step_to(0, 10)
        answer = self.core.ack("w1", offer.token, 11).answer
        self.assertFalse(answer.accepted)
        self.assertIn("did not confirm within 10 s", answer.error)

    def test_dispatch_is_idempotent_while_open(self) -> None:
        """The same task handed in twice is one task; after its end a new one with a higher epoch is opened."""
        offer = self.started()
        self.assertFalse(self.core.submit(make_task("r1"), 1).answer)
        self.core.report_end("w1", RunRef("job", "r1"), "r1", 1, DONE, 2)
        self.assertTrue(self.core.submit(make_task("r1"), 3).answer)
        (second,) = offers(self.core.poll(make_poll("w1"), 3))
        self.assertEqual(offer.epoch + 1, second.epoch)

    def test_other_operation_of_an_open_run_is_refused(self) -> None:
        """T28: a retry of a run that is still open does not run beside it."""
        self.started()
        with self.assertRaisesRegex(ConflictError, "running as START already"):
            self.core.submit(make_task("r1", operation=Operation.RETRY), 1)

    def test_worker_that_never_confirms_is_passed_over(self) -> None:
        """A worker that lets offers time out comes last, however idle it is."""
        self.core.heartbeat(Beat("mute", {}, "one", slots=8), 0)
        self.core.heartbeat(Beat("good", {}, "one", slots=8), 0)
        self.offered(worker="mute", free_slots=8)
        self.core.poll(make_poll("good", free_slots=1), 9)
        self.core.poll(make_poll("mute", free_slots=7), 9)
        (turn,) = self.step_to(9, 10)
        self.assertEqual(["good"], [offer.poll.worker_id for offer in offers(turn)])


class SlotTests(Base):
    """How many tasks a worker gets."""

    def test_one_poll_stands_for_all_free_slots(self) -> None:
        """T46: polls told two free slots; two tasks are given, a third waits although a call is waiting."""
        for name in ("r1", "r2", "r3"):
            self.core.submit(make_task(name), 0)
        given = offers(self.core.poll(make_poll("w1", free_slots=2), 0))
        given += offers(self.core.poll(make_poll("w1", free_slots=1), 0))
        self.assertEqual(["r1"], [offer.task.run.id for offer in given])
        confirmed = self.core.ack("w1", given[0].token, 0)
        self.assertEqual(["r2"], [offer.task.run.id for offer in offers(confirmed)])
        self.assertEqual([], offers(self.core.poll(make_poll("w1", free_slots=0), 0)))
        self.assertEqual(State.QUEUED, self.state("r3"))

    def test_several_polls_share_the_slots(self) -> None:
        """Two calls of one worker that each name the same single slot get one task together."""
        self.core.poll(make_poll("w1", free_slots=1), 0)
        self.core.poll(make_poll("w1", free_slots=1), 0)
        given = offers(self.core.submit(make_task("r1"), 0)) + offers(self.core.submit(make_task("r2"), 0))
        self.assertEqual(1, len(given))
        self.assertEqual([], offers(self.core.ack("w1", given[0].token, 0)))
        ended = self.core.report_end("w1", RunRef("job", "r1"), "r1", 1, DONE, 1)
        self.assertEqual(["r2"], [offer.task.run.id for offer in offers(ended)])

    def test_old_peers_have_one_slot_per_poll(self) -> None:
        """A worker of 1.30.2 gets as many tasks as calls it parked."""
        for _ in range(2):
            self.core.poll(make_poll("old", incarnation=""), 0)
        given = [len(offers(self.core.submit(make_task(f"r{number}"), 0))) for number in range(3)]
        self.assertEqual([1, 1, 0], given)

    def test_least_loaded_then_longest_idle(self) -> None:
        """T51: the emptiest worker is chosen, by share of its slots; among equals the one that waited longest."""
        self.core.heartbeat(Beat("big", {}, "one", slots=10), 0)
        self.core.heartbeat(Beat("small", {}, "one", slots=2), 0)
        self.core.heartbeat(Beat("tiny", {}, "one", slots=2), 0)
        self.core.poll(make_poll("big", free_slots=9), 1)
        self.core.poll(make_poll("small", free_slots=1), 1)
        self.core.poll(make_poll("tiny", free_slots=1), 1)
        order = [
            offer.poll.worker_id
            for number in range(3)
            for offer in offers(self.core.submit(make_task(f"r{number}"), 2 + number))
        ]
        self.assertEqual(["big", "small", "tiny"], order)

    def test_longest_idle_breaks_the_tie(self) -> None:
        """Equal workers take turns."""
        for worker in ("a", "b", "c"):
            self.core.poll(make_poll(worker), 0)
        order = []
        for number in range(6):
            now = float(number + 1)
            (offer,) = offers(self.core.submit(make_task(f"r{number}"), now))
            self.core.ack(offer.poll.worker_id, offer.token, now)
            self.core.report_end(offer.poll.worker_id, offer.task.root, offer.task.run.id, offer.epoch, DONE, now)
            self.core.poll(make_poll(offer.poll.worker_id), now)
            order.append(offer.poll.worker_id)
        self.assertEqual(["a", "b", "c", "a", "b", "c"], order)

    def test_unhealthy_worker_gets_no_offer(self) -> None:
        """A worker silent for 15 s gets nothing although its call waits; with the next heartbeat it does, at once."""
        self.core.poll(make_poll("w1"), 0)
        self.assertEqual([], offers(self.core.submit(make_task("r1"), 15)))
        (verdict,) = self.core.explain(RunRef("job", "r1"), "r1", 17)
        self.assertEqual((Fit.UNHEALTHY, "unhealthy 17 s"), (verdict.fit, verdict.reason))
        self.assertEqual(1, len(offers(self.core.heartbeat(Beat("w1", {}, "one", slots=1), 18))))


class LineTests(Base):
    """Who comes first."""

    def test_unmatched_head_blocks_nobody(self) -> None:
        """T43: a task that nobody can run does not hold up a hundred others behind it, and says why it waits."""
        self.core.submit(make_task("stuck", {"gpu": "true"}), 0)
        for number in range(100):
            self.core.submit(make_task(f"r{number}"), 0)
        given = []
        for _ in range(100):
            given += offers(self.core.poll(make_poll("w1", incarnation=""), 1))
        self.assertEqual([f"r{number}" for number in range(100)], [offer.task.run.id for offer in given])
        (verdict,) = self.core.explain(RunRef("job", "stuck"), "stuck", 1)
        self.assertEqual((Fit.LABELS, "label gpu wanted true, has nothing"), (verdict.fit, verdict.reason))

    def test_requeued_task_keeps_its_place(self) -> None:
        """A task whose offer failed is the first again, not the last."""
        offer = self.offered("r1")
        self.core.submit(make_task("r2"), 0)
        self.core.withdraw(offer.poll, 1)
        given = offers(self.core.poll(make_poll("w2", free_slots=1), 1))
        self.assertEqual(["r1"], [one.task.run.id for one in given])

    def test_worker_takes_the_oldest_of_all_it_may(self) -> None:
        """Across selectors a worker is given the task that waits longest."""
        self.core.submit(make_task("r1", {"gpu": "true"}), 0)
        self.core.submit(make_task("r2"), 0)
        self.core.submit(make_task("r3", {"zone": "a"}), 0)
        given = []
        for _ in range(3):
            given += offers(self.core.poll(make_poll("w1", {"gpu": "true", "zone": "a"}, incarnation=""), 1))
        self.assertEqual(["r1", "r2", "r3"], [offer.task.run.id for offer in given])


class LeaseTests(Base):
    """What happens to tasks whose worker falls silent."""

    def test_expired_lease_fails_the_task_with_the_evidence(self) -> None:
        """T05: a confirmed task of a silent worker ends as failed after the lease, and the reason names worker and run."""
        self.started()
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
        self.started("r1")
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


class WorkerTests(Base):
    """Workers that restart, leave, and are forgotten."""

    def test_restart_returns_unconfirmed_offers(self) -> None:
        """T20: another incarnation under the same id gives back what the old one had not confirmed, and dismisses its calls."""
        first = make_poll("w1", free_slots=2)
        self.core.poll(first, 0)
        self.core.submit(make_task("r1"), 0)
        parked = make_poll("w1", free_slots=1)
        self.core.poll(parked, 0)
        turn = self.core.heartbeat(Beat("w1", {}, "two", slots=2), 1)
        self.assertEqual([parked], [effect.poll for effect in turn.effects if isinstance(effect, Dismissal)])
        self.assertEqual("worker w1 was restarted before it confirmed; waits again", self.why("r1"))

    def test_second_live_worker_of_one_id(self) -> None:
        """T20: when the replaced process speaks up again it is refused with a sentence that says what to do."""
        self.core.heartbeat(Beat("w1", {}, "one", slots=1), 0)
        self.core.heartbeat(Beat("w1", {}, "two", slots=1), 1)
        with self.assertRaisesRegex(ConflictError, "worker id 'w1' is in use .* another --worker.id"):
            self.core.heartbeat(Beat("w1", {}, "one", slots=1), 2)

    def test_leaving_worker_hands_back_what_it_did_not_start(self) -> None:
        """A worker that leaves gives back what it never named as running; what it named and did not report has failed."""
        polls: list[Poll] = []
        given: list[Offer] = []
        for name in ("running", "confirmed", "offered"):
            self.core.submit(make_task(name), 0)
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


class CancelTests(Base):
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


class JournalTests(Base):
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
        fresh.reload([newest[number] for number in sorted(newest)], 50)
        self.assertEqual(3, len(fresh))
        fresh.heartbeat(Beat("w1", {}, "one", slots=3), 50)
        self.assertTrue(fresh.ack("w1", running_offer.token, 51).answer.accepted)
        self.assertTrue(fresh.report_end("w1", RunRef("job", "r1"), "r1", 1, DONE, 52).answer.accepted)
        self.assertEqual([], fresh.submit(make_task("r3"), 52).entries)
