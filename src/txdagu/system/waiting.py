"""Ways of waiting that Deferreds do not come with."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


def end_of(deferred: Deferred[Any]) -> Deferred[None]:
    """Fires when that one has fired, whatever with, and takes nothing from it; cancelling the wait leaves it alone."""
    end: Deferred[None] = Deferred()

    def pass_on(result: object) -> object:
        if not end.called:
            end.callback(None)
        return result

    deferred.addBoth(pass_on)
    return end


class Wake:
    """Remembers that something happened until somebody has waited for it. One waits at a time."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._happened = False
        self._waiter: Deferred[None] | None = None

    def happen(self) -> None:
        """Something happened."""
        self._happened = True
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    async def wait(self, seconds: float | None = None) -> None:
        """Return when something happened since the last call, at the latest after `seconds`."""
        if not self._happened:
            self._waiter = Deferred()
            timer = None if seconds is None else self._clock.callLater(seconds, self.happen)
            try:
                await self._waiter
            finally:
                self._waiter = None
                if timer is not None and timer.active():
                    timer.cancel()
        self._happened = False
