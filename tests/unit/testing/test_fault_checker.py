"""The checker of the fault suite: each kind of mistake is found, and what is as it must be is not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from txdagu.dispatch.machine import State
from txdagu.model.policies import LostWorkerPolicy
from txdagu.model.status import RunState
from txdagu.testing.faults.checker import Judged, Line, check

REDISTRIBUTE, FAIL = LostWorkerPolicy.REDISTRIBUTE, LostWorkerPolicy.FAIL
ONCE = ((State.QUEUED, 0), (State.OFFERED, 1), (State.RUNNING, 1), (State.ENDED, 1))
LOST_ONCE = (*ONCE[:3], (State.LOST, 1), (State.QUEUED, 1), (State.OFFERED, 2), (State.RUNNING, 2), (State.ENDED, 2))
DONE = ("begin r work 1 10", "going r work 1 10", "end r work 1 10")


class CheckerTests(SynchronousTestCase):
    """One run, and what its processes wrote."""

    def found(
        self,
        lines: tuple[str, ...] = DONE,
        transitions: tuple[tuple[State, int], ...] = ONCE,
        told: RunState | None = RunState.SUCCEEDED,
        stored: RunState | None = RunState.SUCCEEDED,
        policy: LostWorkerPolicy = REDISTRIBUTE,
        alive: tuple[str, ...] = (),
    ) -> str:
        """All that is found, on one line."""
        runs = {"r": Judged("r", policy, told, stored, transitions)}
        return "; ".join(check(runs, [Line.parse(line) for line in lines], "work", alive))

    def test_nothing(self) -> None:
        """A run that went through, one that went on after a loss, and one that may be lost once: nothing is found."""
        self.assertEqual(self.found(), "")
        again = ("begin r work 1 10", "begin r work 2 11", "end r work 2 11")
        self.assertEqual(self.found(again, LOST_ONCE), "")
        lost = (*ONCE[:3], (State.LOST, 1), (State.ENDED, 1))
        failed = RunState.FAILED
        self.assertEqual(self.found(("begin r work 1 10",), lost, failed, failed, FAIL), "")

    def test_misses(self) -> None:
        """Runs without an end, without their last step, with an end that was not to be, or another one in the files."""
        self.assertIn("it has not ended", self.found(told=None))
        self.assertIn("never came to its end", self.found(DONE[:2]))
        self.assertIn("to be done again", self.found(told=RunState.FAILED))
        self.assertIn("its files say running", self.found(stored=RunState.RUNNING))
        self.assertIn("its files say nothing", self.found(stored=None))

    def test_extras(self) -> None:
        """Starts that nobody had confirmed, that were not due to a loss, or that the policy forbids; two ends."""
        self.assertIn("started 2 times in epoch 1", self.found((*DONE, "begin r work 1 12")))
        self.assertIn("which nobody had confirmed", self.found((*DONE, "begin r work 2 12")))
        confirmed = (*ONCE[:3], (State.RUNNING, 2), (State.ENDED, 2))
        self.assertIn("which was not lost", self.found((*DONE, "begin r work 2 12"), confirmed))
        self.assertIn("policy is fail", self.found((*DONE, "begin r work 2 12"), LOST_ONCE, policy=FAIL))
        self.assertIn("ended 2 times", self.found(transitions=(*ONCE, (State.ENDED, 1))))
        self.assertIn("nobody handed in", self.found((*DONE, "begin s work 1 12")))

    def test_late_writers(self) -> None:
        """Whoever writes after a later epoch has begun is named, once."""
        late = ("begin r work 1 10", "begin r work 2 11", "going r work 1 10", "end r work 1 10", "end r work 2 11")
        found = self.found(late, LOST_ONCE)
        self.assertEqual(found, "r: twice: process 10 of epoch 1 wrote 'going' after epoch 2 had begun")

    def test_left_running(self) -> None:
        """Processes that outlive everything are told."""
        self.assertEqual(
            self.found(alive=("process 12 of run r (sleep 1)",)), "left running: process 12 of run r (sleep 1)"
        )

    def test_lines(self) -> None:
        """What is no line is refused."""
        self.assertEqual(Line.parse("end r work 3 10"), Line("end", "r", "work", 3, 10))
        for text in ("", "end r work 3", "ended r work 3 10", "end r work x 10"):
            self.assertRaises(ValueError, Line.parse, text)
