"""Commands that need the reactor: run one coroutine in it, and end with its exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from signal import Signals
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from txdagu.cli.output import write_or_drop
from txdagu.model.errors import DaguError
from txdagu.tap.process import UnixProcess


class Interruption:
    """Tells the command's coroutine that somebody wants the process to end (SIGINT, SIGTERM or SIGHUP), and wants it again."""

    def __init__(self) -> None:
        self.signal = ""
        self._listeners: list[Callable[[str], None]] = []
        self._impatient: list[Callable[[], None]] = []

    def on(self, listener: Callable[[str], None], hurry: Callable[[], None] | None = None) -> None:
        """Call `listener` with the signal's name, at once if it came already; and `hurry` when one comes again."""
        self._listeners.append(listener)
        if hurry is not None:
            self._impatient.append(hurry)
        if self.signal:
            listener(self.signal)

    def arrived(self, signal_name: str) -> None:
        """Tell all listeners, and whoever looks on when there is more to wish for."""
        self.signal = signal_name
        if self._impatient:
            write_or_drop(sys.stderr, f"{signal_name}: stopping what runs; a second signal kills it\n")
        for listener in self._listeners:
            listener(signal_name)

    def again(self, signal_name: str) -> None:
        """Tell those who can end sooner than they do."""
        write_or_drop(sys.stderr, f"{signal_name}: killing what still runs\n")
        for hurry in self._impatient:
            hurry()


Main = Callable[[Any, Interruption], Coroutine[Deferred[Any], Any, int]]


def run_in_reactor(main: Main) -> int:
    """
    Run `main` with the process' reactor until it returns the exit code.

    The first signal interrupts it, a second one makes it hurry, a third one ends the process at once. What it raises is raised
    here; if it gives up what it waits for because of a signal, that makes the exit code.
    """
    from twisted.internet import reactor as process_reactor  # noqa: TID251 - this is the main program

    reactor: Any = process_reactor
    interruption = Interruption()
    results: list[int | Failure] = []

    def begin() -> None:
        UnixProcess(reactor).watch_signals(interruption.arrived, hurry=interruption.again)
        Deferred.fromCoroutine(main(reactor, interruption)).addBoth(end)

    def end(result: int | Failure) -> None:
        results.append(result)
        reactor.stop()

    reactor.callWhenRunning(begin)
    reactor.run()
    if not results:
        raise DaguError("interrupted before anything began")
    result = results[0]
    if isinstance(result, Failure):
        if interruption.signal and result.check(CancelledError):
            return 128 + Signals[interruption.signal]
        result.raiseException()
    assert isinstance(result, int), "a failure was raised"
    return result
