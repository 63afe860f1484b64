"""Waiting for ends and events."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.system.waiting import Wake, end_of


class EndOfTests(SynchronousTestCase):
    """`end_of`."""

    def test_takes_nothing(self) -> None:
        """Results and errors stay with the one that is waited for."""
        good: Deferred[int] = Deferred()
        bad: Deferred[int] = Deferred()
        ends = [end_of(good), end_of(bad)]
        good.callback(1)
        bad.errback(ValueError("broken"))
        for end in ends:
            self.assertIsNone(self.successResultOf(end))
        self.assertEqual(self.successResultOf(good), 1)
        self.failureResultOf(bad, ValueError)

    def test_cancelled_wait(self) -> None:
        """Who stops waiting does not stop what was waited for."""
        long: Deferred[int] = Deferred()
        end = end_of(long)
        end.cancel()
        self.failureResultOf(end, CancelledError)
        self.assertNoResult(long)
        long.callback(1)
        self.assertEqual(self.successResultOf(long), 1)


class WakeTests(SynchronousTestCase):
    """`Wake` on a clock."""

    def test_what_happened_before_counts_once(self) -> None:
        """An event between two waits ends the second at once, and the third waits again."""
        clock = Clock()
        wake = Wake(clock)
        wake.happen()
        wake.happen()
        self.successResultOf(Deferred.fromCoroutine(wake.wait()))
        waiting = Deferred.fromCoroutine(wake.wait(3.0))
        self.assertNoResult(waiting)
        clock.advance(3.0)
        self.successResultOf(waiting)
        waiting = Deferred.fromCoroutine(wake.wait(3.0))
        wake.happen()
        self.successResultOf(waiting)
        self.assertEqual(clock.getDelayedCalls(), [])
