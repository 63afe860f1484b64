"""A reactor that stands still."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from txdagu.system.lateness import LatenessWatch


class LatenessTests(SynchronousTestCase):
    """A clock on which nothing happens for a while."""

    def setUp(self) -> None:
        """The watch, and what it says."""
        self.clock = Clock()
        self.said: list[str] = []

        def heard(event: dict[str, Any]) -> None:
            if event.get("log_namespace") == "txdagu.system.lateness.LatenessWatch":
                self.said.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observer := implementer(ILogObserver)(heard))
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.watch = LatenessWatch(self.clock, self.clock.seconds)
        self.watch.startService()

    def test_late(self) -> None:
        """T77: five seconds without the reactor are told once, with how long they were; small delays are not."""
        self.clock.pump([1.0, 1.5, 1.0])
        self.assertEqual(self.said, [])
        self.clock.advance(6.0)
        self.assertEqual(len(self.said), 1)
        self.assertIn("stood still for 5.", self.said[0])
        self.clock.pump([1.0] * 10)
        self.assertEqual(len(self.said), 1)
        self.watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
