"""The wish that something running should end, and how a coroutine learns of it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class StopRequested(Exception):  # noqa: N818 - not an error, the way out of a coroutine that shall end
    """What was awaited does not matter any more."""


def as_deferred(awaitable: Awaitable[T]) -> Deferred[T]:
    """The Deferred itself, or one for any other awaitable."""
    if isinstance(awaitable, Deferred):
        return awaitable

    async def wait() -> T:
        return await awaitable

    return Deferred.fromCoroutine(wait())


def signal_number(name: str) -> int:
    """The number of a signal by its full name; SIGTERM where this system has no such signal."""
    return signal.Signals.__members__.get(name, signal.SIGTERM)


class Stop:
    """
    Whether the owner wants the end, softly or by force.

    `attach` names whom to tell when it does; `race` awaits what may be given up at once. `passed` is the name of a signal that
    somebody sent to the whole run, to be passed on; else the soft signal is `own_signal`, else SIGTERM. With `let_go` somebody
    else goes on with the work: what it has running elsewhere shall not end.
    """

    def __init__(self, own_signal: str = "") -> None:
        self.requested = False
        self.forced = False
        self.let_go = False
        self.passed = ""
        self._own_signal = own_signal
        self._told: Callable[[bool], None] | None = None
        self._pending: Deferred[object] | None = None

    @property
    def signal(self) -> int:
        """The number of the signal that asks processes to end; SIGKILL by force."""
        return signal.SIGKILL if self.forced else signal_number(self.passed or self._own_signal or "SIGTERM")

    def request(self, force: bool = False, passed: str = "", let_go: bool = False) -> None:
        """Ask for the end. May be called again, with force."""
        self.requested = True
        self.forced = self.forced or force
        self.let_go = self.let_go or let_go
        self.passed = self.passed or passed
        if self._pending is not None:
            self._pending.cancel()
        if self._told is not None:
            self._told(force)

    def attach(self, told: Callable[[bool], None]) -> None:
        """Call `told` with the force of each request, at once if one was made already."""
        self._told = told
        if self.requested:
            told(self.forced)

    def detach(self) -> None:
        """Tell nobody any more."""
        self._told = None

    def check(self) -> None:
        """Raise `StopRequested` if the end is wanted."""
        if self.requested:
            raise StopRequested

    async def race(self, awaitable: Awaitable[T]) -> T:
        """
        The result of `awaitable`, or `StopRequested` as soon as the end is wanted; it is cancelled then.

        Whatever it raises after that counts as its end: not all that can be cancelled says so with a `CancelledError`.
        """
        waiting = as_deferred(awaitable)
        if self.requested:
            waiting.addErrback(lambda _: None)
            waiting.cancel()
            raise StopRequested
        self._pending = waiting  # type: ignore[assignment]  # Deferred is invariant; it is only cancelled
        try:
            return await waiting
        except Exception:
            self.check()
            raise
        finally:
            self._pending = None
