"""A task's slot as the run engine sees it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from txdagu.execution.engine import ISlot
from txdagu.worker.slots import Hold, Slots


@implementer(ISlot)
class TaskSlot:
    """
    One task's slot. Asked for when made, so that it counts at once; `acquire` waits until it is there.

    A run that only waits for its children gives it back with `release` and comes back with `acquire`, before any new task.
    """

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._waiting: Deferred[None] | None = None
        self._hold: Hold | None = slots.ask(self._granted)

    def acquire(self) -> Deferred[None]:
        """Fires when the slot is held. Cancelling stops the wait."""
        if self._hold is None:
            self._hold = self._slots.ask(self._granted, returning=True)
        # A slot that is free is granted within the asking, before there is anybody to tell.
        if self._hold.held:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        self._waiting = Deferred(lambda _: self.release())
        return self._waiting

    def release(self) -> None:
        """Give the slot back, held or waited for. Again without effect."""
        self._waiting = None
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.give_back()

    def _granted(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
