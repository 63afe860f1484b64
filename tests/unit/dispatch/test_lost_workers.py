"""What becomes of tasks whose worker is lost, by their ``onWorkerLost``, in the core's own time."""

from __future__ import annotations

from typing import Any

from txdagu.dispatch.core import Beat, DispatchCore
from txdagu.dispatch.journal import Kept
from txdagu.dispatch.machine import State
from txdagu.dispatch.records import Entry
from txdagu.dispatch.turn import Turn
from txdagu.model.labels import Labels
from txdagu.model.policies import LostWorkerPolicy, OnWorkerLost
from txdagu.model.run import RunRef
from txdagu.model.status import RunState
from txdagu.model.task import RunningTask
from txdagu.testing.dispatch import DONE, CoreTestCase, CountedNames, endings, make_poll, make_task, offers, running

ROOT = RunRef("job", "r1")
WAIT = OnWorkerLost(LostWorkerPolicy.WAIT)
TWICE = OnWorkerLost(LostWorkerPolicy.REDISTRIBUTE, 2)


class RedistributionTests(CoreTestCase):
    """Tasks that go on elsewhere."""

    def lose(self, worker: str, now: float) -> None:
        """Let a worker take the waiting task, name it once, and say nothing more until its lease has ended."""
        (offer,) = offers(self.core.poll(make_poll(worker), now))
        assert self.core.ack(worker, offer.token, now).answer.accepted
        self.core.run_heartbeat(worker, "one", [running(offer.task, offer.epoch)], now)
        self.step_to(now, now + 30)

    def test_goes_on_elsewhere(self) -> None:
        """A task of a silent worker waits again, with a reason, and the next worker gets a later epoch and attempt."""
        first = self.started()
        self.step_to(0, 30)
        self.assertEqual(State.QUEUED, self.state("r1"))
        self.assertEqual("worker w1 was silent for 30 s while running job:r1; waits again", self.why("r1"))
        (second,) = offers(self.core.poll(make_poll("w2"), 31))
        self.assertEqual(2, second.epoch)
        self.assertGreater(second.attempt_name, first.attempt_name)

    def test_who_lost_it_is_told(self) -> None:
        """The worker that is heard of again must end the run, and its report of the old epoch changes nothing."""
        offer = self.started()
        self.step_to(0, 30)
        (order,) = self.core.run_heartbeat("w1", "one", [running(offer.task, 1, "key")], 31).answer
        self.assertIn("it was given away", order.reason)
        self.assertFalse(self.core.report_end("w1", ROOT, "r1", 1, DONE, 32).answer.accepted)

    def test_gives_up_with_the_evidence(self) -> None:
        """A task that loses one worker after the other fails at its limit, and all of them are named."""
        self.core.submit(make_task("r1", lost=TWICE), 0)
        self.lose("w1", 0)
        self.assertEqual(State.QUEUED, self.state("r1"))
        self.lose("w2", 40)
        self.assertEqual(State.ENDED, self.state("r1"))
        lost = "it has lost 2 in all (w1, w2), and onWorkerLost allows no more"
        expected = f"worker w2 was silent for 30 s while running job:r1; {lost}"
        self.assertEqual(expected, self.why("r1"))

    def test_losses_are_in_the_journal(self) -> None:
        """A coordinator that is started anew goes on counting."""
        names, newest = CountedNames(), dict[int, Entry]()
        self.core = DispatchCore(names)
        turns: list[Turn[Any]] = [self.core.submit(make_task("r1", lost=TWICE), 0)]
        turns.append(self.core.poll(make_poll("w1"), 0))
        turns.append(self.core.ack("w1", offers(turns[1])[0].token, 0))
        self.core.run_heartbeat("w1", "one", [running(offers(turns[1])[0].task, 1)], 0)
        for turn in (*turns, *self.step_to(0, 30)):
            newest.update((entry.number, entry) for entry in turn.entries)
        self.core = DispatchCore(names)
        self.core.restore(Kept(tuple(newest.values())), 100)
        self.core.heartbeat(Beat("w2", {}, "one", slots=1), 100)
        self.lose("w2", 100)
        self.assertEqual(State.ENDED, self.state("r1"))

    def test_adopted_task_fails(self) -> None:
        """A run that was taken up from its worker has no definition here, so that nobody else can run it."""
        self.core.heartbeat(Beat("w1", {}, "one", slots=1), 0)
        self.core.run_heartbeat("w1", "one", [running(make_task("r1"), 7)], 0)
        self.step_to(0, 31)
        self.assertEqual(State.ENDED, self.state("r1"))

    def test_children_of_a_lost_parent_go_on(self) -> None:
        """The parent's next attempt finds them; they are not cancelled while it waits for a worker."""
        self.started()
        self.core.submit(make_task("child", {"no": "one"}, parent=ROOT, root=ROOT), 1)
        self.step_to(0, 30)
        self.assertEqual(State.QUEUED, self.core.timeline(ROOT, "child")[-1].state)


class WaitTests(CoreTestCase):
    """Tasks that are left to their worker."""

    def test_never_given_away(self) -> None:
        """Neither the end of the lease nor that of the worker's record ends the task; the worker finds it when it is back."""
        offer = self.started(lost=WAIT)
        self.step_to(0, 2000)
        self.assertEqual(State.RUNNING, self.state("r1"))
        self.assertIn("onWorkerLost is wait, so it is left to it", self.why("r1"))
        self.assertEqual([], offers(self.core.poll(make_poll("w2"), 2000)))
        self.core.heartbeat(Beat("w1", {}, "one", slots=1), 2001)
        self.assertEqual([], self.core.run_heartbeat("w1", "one", [running(offer.task, 1)], 2001).answer)
        self.assertEqual("worker w1 is heard of again after 2001 s", self.why("r1"))
        self.assertTrue(self.core.report_end("w1", ROOT, "r1", 1, DONE, 2002).answer.accepted)

    def test_silence_is_told_once(self) -> None:
        """A long silence is one line of the timeline, and so is the next one."""
        offer = self.started(lost=WAIT)
        self.step_to(0, 100)
        self.core.run_heartbeat("w1", "one", [running(offer.task, 1)], 100)
        self.step_to(100, 200)
        told = [line.reason for line in self.core.timeline(ROOT, "r1") if "was silent" in line.reason]
        self.assertEqual(2, len(told))

    def test_restarted_worker(self) -> None:
        """When a later process has the worker's id, nobody is waited for: the task fails at once, or when its lease ends."""
        self.started(lost=WAIT)
        self.step_to(0, 40)
        turn = self.core.heartbeat(Beat("w1", {}, "two", slots=1), 41)
        (ending,) = endings(turn)
        self.assertEqual("worker w1 was restarted after 41 s of silence while running job:r1", ending.outcome.reason)
        self.started("r2", "w2", 50, lost=WAIT)
        self.step_to(50, 79)
        self.core.heartbeat(Beat("w2", {}, "two", slots=1), 80)
        self.assertEqual(State.RUNNING, self.state("r2"))
        self.step_to(80, 81)
        self.assertEqual(State.ENDED, self.state("r2"))

    def test_forgotten_and_restarted_worker(self) -> None:
        """The same when the worker had been off the list for long."""
        self.started(lost=WAIT)
        self.step_to(0, 700)
        self.core.heartbeat(Beat("w1", {}, "two", slots=1), 701)
        self.assertEqual(State.ENDED, self.state("r1"))

    def test_cancelled_while_silent(self) -> None:
        """A request to end it reaches the worker with its next beat."""
        offer = self.started(lost=WAIT)
        self.step_to(0, 40)
        self.core.cancel(ROOT, "r1", "asked", 41)
        (order,) = self.core.run_heartbeat("w1", "one", [running(offer.task, 1, "key")], 42).answer
        self.assertEqual("asked", order.reason)

    def beats(self, start: int, end: int, *named: RunningTask) -> None:
        """Let w1 beat each second without renewing a lease, with these runs in its list, while time passes."""
        for now in range(start, end):
            self.step_to(now - 1, now)
            self.core.heartbeat(Beat("w1", {}, "one", slots=1, running=named), now)

    def test_confirmation_that_its_worker_never_heard_of(self) -> None:
        """A worker that lives on for a lease without ever naming the task has not begun it: it waits again, under a new epoch."""
        offer = self.started(lost=WAIT)
        self.beats(1, 60)
        self.assertEqual(State.RUNNING, self.state("r1"))
        self.beats(60, 61)
        reason = "worker w1 lives, but for 60 s it has not named job:r1 among its runs; waits again"
        self.assertEqual(reason, self.why("r1"))
        self.assertFalse(self.core.ack("w1", offer.token, 61).answer.accepted)
        (second,) = offers(self.core.poll(make_poll("w1"), 61))
        self.core.ack("w1", second.token, 61)
        self.step_to(61, 92)
        self.assertIn("so it is left to it", self.why("r1"))

    def test_cancelled_and_never_begun(self) -> None:
        """The same when its end was asked for: it ends as aborted."""
        self.started(lost=WAIT)
        self.core.cancel(ROOT, "r1", "asked", 41)
        self.beats(1, 61)
        ending = self.core.ended(ROOT, "r1")
        assert ending is not None
        self.assertEqual((RunState.ABORTED, "cancelled: asked"), (ending.outcome.state, ending.outcome.reason))

    def test_named_once_and_then_no_more(self) -> None:
        """A task that its worker had, and has no longer without a report, may not be begun twice: it fails."""
        offer = self.started(lost=WAIT)
        self.beats(1, 2, running(offer.task, 1))
        self.beats(2, 61)
        self.assertEqual(State.ENDED, self.state("r1"))
        self.assertIn("it has not named job:r1 among its runs", self.why("r1"))

    def test_named_without_a_lease(self) -> None:
        """A worker that names the task in its heartbeats has it, also when its leases do not get through."""
        offer = self.started(lost=WAIT)
        self.beats(1, 200, running(offer.task, 1))
        self.assertEqual(State.RUNNING, self.state("r1"))

    def test_worker_that_sleeps_between_beats(self) -> None:
        """Beats with long pauses prove nothing: our answer may wait to be read by a worker that was asleep."""
        offer = self.started(lost=WAIT)
        for now in range(40, 400, 40):
            self.step_to(now - 40, now)
            self.beats(now, now + 3)
        self.assertEqual(State.RUNNING, self.state("r1"))
        self.assertTrue(self.core.ack("w1", offer.token, 400).answer.accepted)
        self.assertIn("is heard of again", self.why("r1"))
        self.step_to(400, 431)
        self.assertIn("was silent for 30 s", self.why("r1"))


class ProgramTests(CoreTestCase):
    """Tasks that workers of Dagu do not know how to run."""

    def offered_to(self, labels: Labels, incarnation: str) -> list[str]:
        """What a worker with those labels is offered."""
        turn = self.core.poll(make_poll(f"w-{incarnation}", labels, incarnation, free_slots=2), 1)
        return [offer.task.run.id for offer in offers(turn)]

    def test_only_ours_get_them(self) -> None:
        """A worker that announces nothing gets what it can run, and one of ours the rest; the verdict says so."""
        gpu = {"gpu": "true"}
        self.core.submit(make_task("step", gpu, needs="single steps"), 0)
        self.core.submit(make_task("dag", gpu), 0)
        self.assertEqual(["dag"], self.offered_to(gpu, ""))
        (verdict,) = self.core.explain(RunRef("job", "step"), "step", 2)
        self.assertEqual("is a worker of Dagu, which does not know single steps", verdict.reason)
        self.assertEqual(["step"], self.offered_to(gpu, "one"))

    def test_restarted_as_ours(self) -> None:
        """A worker id under which a worker of ours is started next gets them from then on, and the other way round."""
        self.core.poll(make_poll("w", incarnation=""), 0)
        self.core.submit(make_task("r1", needs="x"), 1)
        self.assertEqual(State.QUEUED, self.state("r1"))
        (offer,) = offers(self.core.poll(make_poll("w"), 2))
        self.assertEqual("r1", offer.task.run.id)
        self.core.heartbeat(Beat("w", {}, "", slots=1), 33)
        self.core.poll(make_poll("w", incarnation=""), 33)
        self.core.submit(make_task("r2", needs="x"), 34)
        self.assertEqual(State.QUEUED, self.state("r2"))

    def test_aborted_when_cancelled(self) -> None:
        """A lost task that somebody wanted to end is not given to another worker."""
        offer = self.started()
        self.core.cancel(offer.task.root, "r1", "asked", 1)
        (ending,) = [one for turn in self.step_to(1, 31) for one in endings(turn)]
        self.assertIs(ending.outcome.state, RunState.ABORTED)
