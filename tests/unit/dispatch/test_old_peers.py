"""Workers of 1.30.2 confirm nothing: what the core concludes from their heartbeats alone."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Outcome
from txdagu.dispatch.turn import Ending, Inquiry, Offer, Turn
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.model.task import Task
from txdagu.testing.dispatch import CountedNames, make_poll, make_task, running

RUN = RunRef("job", "r1")


class OldPeerTests(SynchronousTestCase):
    """One task, one worker ``old`` that polls without incarnation and beats once a second."""

    def setUp(self) -> None:
        """A fresh core."""
        self.core = DispatchCore(CountedNames())
        self.core.submit(make_task("r1"), 0)
        (self.offer,) = [
            one for one in self.core.poll(make_poll("old", incarnation=""), 0).effects if isinstance(one, Offer)
        ]

    def beat(self, now: float, *tasks: Task) -> Turn[Any]:
        """One heartbeat that lists those tasks, after a tick."""
        self.core.tick(now)
        listed = tuple(running(task) for task in tasks)
        return self.core.heartbeat(Beat("old", {}, "", 2, len(listed), listed), now)

    def inquiries(self, *turns: Turn[Any]) -> list[Inquiry]:
        """The questions among the effects."""
        return [effect for turn in turns for effect in turn.effects if isinstance(effect, Inquiry)]

    def state(self) -> State:
        """Where the task is."""
        return self.core.timeline(RUN, "r1")[-1].state

    def test_listed_is_taken(self) -> None:
        """A run that the heartbeat names has been taken, and no silence gives it away afterwards."""
        self.beat(1, self.offer.task)
        self.assertEqual(State.RUNNING, self.state())
        for now in range(2, 500):
            self.core.tick(now)
        self.assertEqual(State.RUNNING, self.state())

    def test_confirmed_is_taken(self) -> None:
        """A 2.x worker confirms although it has no incarnation; its run is not leased either."""
        self.assertTrue(self.core.ack("old", self.offer.token, 1).answer.accepted)
        for now in range(2, 60):
            self.beat(now, self.offer.task)
        self.assertEqual(State.RUNNING, self.state())

    def test_end_needs_two_heartbeats(self) -> None:
        """A run that is missing once is not over; missing twice in a row it is, and only its files know how it ended."""
        self.beat(1, self.offer.task)
        self.beat(2)
        self.beat(3, self.offer.task)
        self.beat(4)
        self.assertEqual(State.RUNNING, self.state())
        turn = self.beat(5)
        (ending,) = [effect for effect in turn.effects if isinstance(effect, Ending)]
        self.assertIsNone(ending.outcome.state)

    def test_not_asked_before_time_and_two_heartbeats(self) -> None:
        """Only two heartbeats after the offer's time without a word about the run make the core doubt, and then it asks."""
        early = [self.beat(now) for now in range(1, 10)]
        self.assertEqual([], self.inquiries(*early, self.beat(10)))
        (question,) = self.inquiries(self.beat(11))
        self.assertEqual(("r1", 11), (question.task.run.id, question.age))
        self.assertEqual([], self.inquiries(self.beat(12), self.beat(13)))

    def test_offered_again_when_files_say_nothing(self) -> None:
        """A run that nobody started goes to the next worker."""
        (question,) = self.inquiries(*[self.beat(now) for now in range(1, 12)])
        self.core.poll(make_poll("new"), 12)
        turn = self.core.inquiry_answered(question, False, None, 12)
        self.assertEqual(["new"], [effect.poll.worker_id for effect in turn.effects if isinstance(effect, Offer)])

    def test_not_offered_again_when_files_show_a_start(self) -> None:
        """A run too short for any heartbeat is not run twice: its status file tells that it ran."""
        (question,) = self.inquiries(*[self.beat(now) for now in range(1, 12)])
        self.core.inquiry_answered(question, True, Outcome(RunState.SUCCEEDED, "its status file says succeeded"), 12)
        self.assertEqual(State.ENDED, self.state())
        self.core.inquiry_answered(question, False, None, 13)
        self.assertEqual(State.ENDED, self.state())

    def test_dead_before_the_call_was_answered(self) -> None:
        """T01: an offer that never left goes back at once, also from an old peer."""
        self.core.withdraw(self.offer.poll, 1)
        self.assertEqual(State.QUEUED, self.state())

    def test_other_calls_of_it_say_nothing(self) -> None:
        """When another of its calls breaks, an old peer's offer stands, since it may have started."""
        other = make_poll("old", incarnation="")
        self.core.poll(other, 1)
        self.core.withdraw(other, 2)
        self.assertEqual(State.OFFERED, self.state())

    def test_forgotten_worker_leaves_no_open_task(self) -> None:
        """A worker that vanished for ten minutes ends its tasks as failed, with the evidence."""
        turns = [self.core.tick(now) for now in range(0, 601, 10)]
        (ending,) = [effect for turn in turns for effect in turn.effects if isinstance(effect, Ending)]
        self.assertEqual(RunState.FAILED, ending.outcome.state)
        self.assertIn("whether it ran job:r1 is not known", ending.outcome.reason)

    def test_cancelled_offer_is_not_offered_again(self) -> None:
        """A cancel before any sign of the run holds: the task ends instead of going to the next worker."""
        self.core.cancel(RUN, "r1", "asked", 1)
        self.assertEqual(State.OFFERED, self.state())
        (question,) = self.inquiries(*[self.beat(now) for now in range(2, 12)])
        self.core.inquiry_answered(question, False, None, 12)
        self.assertEqual(State.ENDED, self.state())

    def test_reported_end(self) -> None:
        """A 2.x worker reports without epoch; that ends its task."""
        self.core.ack("old", self.offer.token, 1)
        done = Outcome(RunState.SUCCEEDED, "succeeded", "{}")
        self.assertTrue(self.core.report_end("old", RUN, "r1", 0, done, 2).answer.accepted)
