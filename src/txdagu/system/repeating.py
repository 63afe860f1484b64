"""Work that is done again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure


class Repeating:
    """
    Calls `work` every so many seconds, and goes on when it fails: that is logged, as a failure of `what`.

    A call that takes longer is waited for. A plain `LoopingCall` would end with the first error.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, seconds: float, work: Callable[[], Any], what: str) -> None:
        self._seconds = seconds
        self._work = work
        self._what = what
        self._loop = LoopingCall(self._call)
        self._loop.clock = clock

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._loop.running

    def start(self, now: bool = True) -> None:
        """Begin, with a call at once unless `now` is false."""
        self._loop.start(self._seconds, now=now)

    def stop(self) -> None:
        """Call no more; a call under way goes on. Calling it again does nothing."""
        if self._loop.running:
            self._loop.stop()

    def _call(self) -> Deferred[Any]:
        return maybeDeferred(self._work).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("{what} failed", failure, what=self._what)
