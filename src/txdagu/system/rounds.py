"""Things to be looked at again and again: one timer and one thread call for all of them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from txdagu.system.repeating import Repeating
from txdagu.system.threads import InThread


class Rounds:
    """
    Every so many seconds looks at everything that was added, in a thread, and tells whom it concerns, in the reactor's.

    Runs no timer while there is nothing to look at. A round that takes longer than the interval is waited for.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, seconds: float, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._entries: dict[object, tuple[Callable[[], object], Callable[[], None]]] = {}
        self._loop = Repeating(clock, seconds, self._round, "a round of looks at the disk")

    def add(self, look: Callable[[], object], then: Callable[[], None]) -> Callable[[], None]:
        """Call `look` in each round, and `then` if it returned something true. The returned function ends that."""
        key = object()
        self._entries[key] = (look, then)
        if not self._loop.running:
            self._loop.start(now=False)

        def end() -> None:
            self._entries.pop(key, None)
            if not self._entries:
                self._loop.stop()

        return end

    def _round(self) -> Deferred[None]:
        entries = list(self._entries.items())

        def look() -> list[object]:
            return [key for key, (look, _) in entries if self._true(look)]

        return self._in_thread(look).addCallback(self._tell)

    def _true(self, look: Callable[[], object]) -> bool:
        try:
            return bool(look())
        except OSError as error:
            self.log.warn("the disk cannot be looked at: {error}", error=error)
            return False

    def _tell(self, keys: list[object]) -> None:
        for key in keys:
            if key in self._entries:
                try:
                    self._entries[key][1]()
                except Exception:  # noqa: BLE001 (whatever one of them does, the others are told)
                    self.log.failure("in a round of looks at the disk")
