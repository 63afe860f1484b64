"""Word of a reactor that stood still."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

from txdagu.system.repeating import Repeating

INTERVAL = 1.0
# Heartbeats are a second apart: whoever is later than this was noticed by others, too.
TOLERATED = 2.0


class LatenessWatch(Service):
    """
    Looks at the clock every second, and tells when a look comes seconds late.

    `now` is monotonic, in seconds. Leases and deadlines are reckoned so that they bear it; but nobody was answered in that time.
    """

    log = Logger()

    def __init__(self, reactor: Any, now: Callable[[], float]) -> None:
        self._now = now
        self._looked_at = 0.0
        self._loop = Repeating(reactor, INTERVAL, self._look, "looking at the clock")

    def startService(self) -> None:
        """Begin to look."""
        Service.startService(self)
        self._looked_at = self._now()
        self._loop.start(now=False)

    def stopService(self) -> None:
        """Look no more."""
        Service.stopService(self)
        self._loop.stop()

    def _look(self) -> None:
        now = self._now()
        late = now - self._looked_at - INTERVAL
        self._looked_at = now
        if late > TOLERATED:
            self.log.warn(
                "this process stood still for {seconds:.1f} s: stopped, blocked by something in it, or asleep with the machine",
                seconds=late,
            )
