"""What the core tells of a task: where it is, since when, what keeps it there."""

from __future__ import annotations

from txdagu.dispatch.core import Beat
from txdagu.dispatch.machine import State
from txdagu.dispatch.matching import Fit, Verdict, nearest_first
from txdagu.model.run import RunRef
from txdagu.testing.dispatch import DONE, CoreTestCase, make_poll, make_task, offers, running


class ExplanationTests(CoreTestCase):
    """One task through its states."""

    def test_way_of_a_task(self) -> None:
        """In each state its age, its worker and what is kept of it are told; an ended one is told while it is remembered."""
        task = make_task("r1", {"gpu": "true"})
        self.core.submit(task, 0)
        waiting = self.core.explanation(task.root, "r1", 7)
        assert waiting is not None
        self.assertEqual((waiting.state, waiting.age, waiting.selector), (State.QUEUED, 7, {"gpu": "true"}))
        (offer,) = offers(self.core.poll(make_poll("w1", {"gpu": "true"}), 8))
        offered = self.core.explanation(task.root, "r1", 9)
        assert offered is not None
        self.assertEqual((offered.state, offered.age, offered.worker_id, offered.epoch), (State.OFFERED, 1, "w1", 1))
        self.assertIsNone(offered.lease_left)
        self.core.ack("w1", offer.token, 10)
        self.core.run_heartbeat("w1", "one", [running(task, 1)], 14)
        runs = self.core.explanation(task.root, "r1", 15)
        assert runs is not None
        self.assertEqual((runs.state, runs.age, runs.heard_age, runs.lease_left), (State.RUNNING, 5, 1, 29))
        self.core.report_end("w1", task.root, "r1", 1, DONE, 16)
        ended = self.core.explanation(task.root, "r1", 20)
        assert ended is not None
        self.assertEqual(
            (ended.state, ended.age, ended.outcome, ended.attempt_name), (State.ENDED, 4, DONE, offer.attempt_name)
        )
        self.assertIsNone(self.core.explanation(task.root, "unknown", 20))

    def test_more_about_a_state_does_not_begin_it_anew(self) -> None:
        """A run that shall end has been running since it was confirmed, not since its end was asked for."""
        self.started("r1", now=3)
        self.core.cancel(RunRef("job", "r1"), "r1", "asked", 10)
        told = self.core.explanation(RunRef("job", "r1"), "r1", 13)
        assert told is not None
        self.assertEqual((told.state, told.age, told.cancel_reason), (State.RUNNING, 10, "asked"))

    def test_who_comes_first(self) -> None:
        """Earlier tasks count that could take one of the same workers, not those that nobody of them can run; each once."""
        self.core.heartbeat(Beat("w1", {"gpu": "true"}, "one", slots=1, busy=1), 0)
        for run_id, selector in (("a", {"gpu": "true"}), ("b", {}), ("c", {"zone": "x"}), ("mine", {"gpu": "true"})):
            self.core.submit(make_task(run_id, selector), 0)
        offer = offers(self.core.poll(make_poll("w1", {"gpu": "true"}), 1))[0]
        self.core.withdraw(offer.poll, 1)
        told = self.core.explanation(RunRef("job", "mine"), "mine", 2)
        assert told is not None
        self.assertEqual(told.ahead, 2)

    def test_open_tasks_below(self) -> None:
        """Of a root run the open tasks that it has called are told, oldest first and bounded, and how many there are."""
        root = RunRef("job", "top")
        for number in range(3):
            self.core.submit(make_task(f"k{number}", parent=root, root=root), number)
        self.core.submit(make_task("top"), 3)
        self.core.submit(make_task("other"), 3)
        count, below = self.core.open_below(root, 4, 2)
        self.assertEqual((count, [task.run.id for task in below]), (3, ["k0", "k1"]))

    def test_few_misses_are_nearer_than_many(self) -> None:
        """Of workers with wrong labels the one comes first that lacks fewest."""
        self.core.heartbeat(Beat("a", {}, "one", slots=1), 0)
        self.core.heartbeat(Beat("b", {"gpu": "true"}, "one", slots=1), 0)
        self.core.submit(make_task("r1", {"gpu": "true", "zone": "x"}), 0)
        self.assertEqual(["b", "a"], [one.worker_id for one in self.core.explain(RunRef("job", "r1"), "r1", 0)])
        self.assertEqual(
            ["z", "a"],
            [one.worker_id for one in nearest_first([Verdict("a", Fit.PROGRAM, ""), Verdict("z", Fit.BUSY, "")])],
        )


class WaitingTests(CoreTestCase):
    """What gets a waiting task going."""

    def test_any_sign_of_life_counts(self) -> None:
        """T44: a worker that was taken for silent gets what waits with any word of its own, not with its next heartbeat only."""
        self.started("held", now=0)
        self.core.poll(make_poll("w1"), 0)
        self.assertEqual([], offers(self.core.submit(make_task("late"), 20)))
        turn = self.core.run_heartbeat("w1", "one", [running(make_task("held"), 1)], 21)
        self.assertEqual(["late"], [offer.task.run.id for offer in offers(turn)])

    def test_labels_that_change_are_an_event(self) -> None:
        """T44: a waiting task starts with the very heartbeat that tells fitting labels."""
        self.core.poll(make_poll("w1", {"zone": "a"}), 0)
        self.core.submit(make_task("r1", {"gpu": "true"}), 0)
        turn = self.core.heartbeat(Beat("w1", {"gpu": "true"}, "one", slots=1), 1)
        self.assertEqual(["r1"], [offer.task.run.id for offer in offers(turn)])

    def test_same_workers_same_choice(self) -> None:
        """T51: among workers with equal load and history the first by id is taken, in whatever order they came."""
        for order in (("w1", "w2", "w3"), ("w3", "w1", "w2")):
            self.setUp()
            for worker in order:
                self.core.poll(make_poll(worker, free_slots=4), 0)
            chosen = [offers(self.core.submit(make_task(f"r{n}"), 1 + n))[0].poll.worker_id for n in range(3)]
            self.assertEqual(["w1", "w2", "w3"], chosen)
