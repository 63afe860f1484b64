"""Work that is done again and again."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.system.repeating import Repeating


class RepeatingTests(SynchronousTestCase):
    """`Repeating` on a clock."""

    def setUp(self) -> None:
        """Work that counts."""
        self.clock = Clock()
        self.calls = 0

    def work(self) -> None:
        """Fail at the second call."""
        self.calls += 1
        if self.calls == 2:
            raise ValueError("broken")

    def test_goes_on_after_an_error(self) -> None:
        """An error is logged and ends nothing."""
        repeating = Repeating(self.clock, 1.0, self.work, "work")
        repeating.start()
        self.clock.pump([1, 1])
        self.assertEqual(self.calls, 3)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        repeating.stop()
        repeating.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_for_what_takes_long(self) -> None:
        """A call does not begin before the last one has ended, also when that was cancelled, about which nothing is said."""
        begun: list[Deferred[None]] = []

        def work() -> Deferred[None]:
            begun.append(Deferred())
            return begun[-1]

        repeating = Repeating(self.clock, 1.0, work, "work")
        repeating.start(now=False)
        self.clock.pump([1, 1, 1])
        self.assertEqual(len(begun), 1)
        begun[0].cancel()
        self.clock.advance(1)
        self.assertEqual(len(begun), 2)
        repeating.stop()
        begun[1].callback(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])
