"""Signals of a role's process."""

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
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

    def test_hangup_reloads(self) -> None:
        """SIGHUP reloads each time, and is no wish for an end; without anything to call it is one."""
        reloads: list[str] = []
        reactor: Any = SignalledReactor()
        process = UnixProcess(reactor, {}, lambda: self.seconds, lambda: False)
        process.watch_signals(self.asked.append, reloads.append)
        self.send(signal.SIGHUP)
        self.send(signal.SIGHUP)
        self.assertEqual((self.asked, reloads), ([], ["SIGHUP", "SIGHUP"]))
        self.send(signal.SIGTERM)
        self.assertEqual(self.asked, ["SIGTERM"])

    def test_hangup_without_reload(self) -> None:
        """A command that has nothing to reload is ended by SIGHUP."""
        self.send(signal.SIGHUP)
        self.assertEqual(self.asked, ["SIGHUP"])

    def test_terminal_gone(self) -> None:
        """SIGHUP of a terminal that was closed ends a role that was started on it: nobody could stop it there any more."""
        reloads: list[str] = []
        terminal = [True, True, False]
        reactor: Any = SignalledReactor()
        process = UnixProcess(reactor, {}, lambda: self.seconds, lambda: terminal.pop(0))
        process.watch_signals(self.asked.append, reloads.append)
        self.send(signal.SIGHUP)
        self.send(signal.SIGHUP)
        self.assertEqual((reloads, self.asked), (["SIGHUP"], ["SIGHUP"]))

    def test_reloading_notice(self) -> None:
        """Systemd wants the time of the reload on the monotonic clock, in microseconds."""
        directory = Path(self.mktemp())
        directory.mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            here = Path.cwd()
            self.addCleanup(os.chdir, here)
            os.chdir(directory)  # paths of sockets are short
            manager.bind("notify")
            reactor: Any = SignalledReactor()
            UnixProcess(reactor, {"NOTIFY_SOCKET": "notify"}, lambda: 12.5).notify_reloading()
            self.assertEqual(manager.recv(100), b"RELOADING=1\nMONOTONIC_USEC=12500000")
