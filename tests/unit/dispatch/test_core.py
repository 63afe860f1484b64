"""What the dispatch core promises about a single task on its way to a worker that confirms offers."""

from __future__ import annotations

from txdagu.dispatch.core import Beat
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit
from txdagu.model.errors import ConflictError
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.model.task import Operation
from txdagu.testing.dispatch import DONE, CoreTestCase, endings, make_poll, make_task, offers


class HandOverTests(CoreTestCase):
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


class SlotTests(CoreTestCase):
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


class LineTests(CoreTestCase):
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
