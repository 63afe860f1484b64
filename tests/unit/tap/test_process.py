"""Signals of a role's process."""

import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from txdagu.tap.process import SAME_REQUEST, UnixProcess


class SignalledReactor(MemoryReactorClock):
    """Does at once what a signal handler asks of the reactor's thread."""

    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:
        """There is only one thread."""
        call(*arguments)


class SignalTests(SynchronousTestCase):
    def setUp(self) -> None:
        """The handler that a role installs, without the signals."""
        self.seconds = 0.0
        self.asked: list[str] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        reactor: Any = SignalledReactor()
        UnixProcess(reactor, {}, lambda: self.seconds).watch_signals(self.asked.append)

    def send(self, number: signal.Signals) -> None:
        handler = signal.getsignal(number)
        assert callable(handler)
        handler(number, None)

    def test_a_signal_that_arrives_twice_at_once_is_one_wish(self) -> None:
        """`timeout` sends SIGTERM to the process and to its group; that must not cut short an orderly end."""
        self.send(signal.SIGTERM)
        self.seconds = SAME_REQUEST / 2
        self.send(signal.SIGTERM)
        self.assertEqual(self.asked, ["SIGTERM"])
