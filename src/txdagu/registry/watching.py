"""Be told soon after a directory changed, and at least at every sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall

from txdagu.registry.entries import SUFFIX
from txdagu.system.notices import Notices
from txdagu.system.places import Place
from txdagu.system.repeating import Repeating

SWEEP_INTERVAL = 2.0
GATHERING = 0.05


class DirectoryWatch(Service):
    """
    Calls `on_change` soon after an entry file in `directory` came, changed or went, and at every sweep.

    The kernel's notices make it fast. The sweep makes it right: network file systems send no notice of other hosts' writes,
    a queue that overflows says nothing, and a directory may come into being later. Many changes within 50 ms are told once.
    """

    def __init__(
        self, reactor: Any, directory: str, on_change: Callable[[], None], interval: float = SWEEP_INTERVAL
    ) -> None:
        self._reactor = reactor
        self._on_change = on_change
        self._notices = Notices(reactor)
        self._place = Place(directory, suffix=SUFFIX)
        self._pending: IDelayedCall | None = None
        self._loop = Repeating(reactor, interval, self._sweep, f"reading {directory}")

    def startService(self) -> None:
        """Sweep now and from then on."""
        Service.startService(self)
        self._notices.add(self._place, self._changed)
        self._loop.start()

    def stopService(self) -> None:
        """Forget the directory and close the descriptor."""
        Service.stopService(self)
        self._loop.stop()
        self._forget_pending()
        self._notices.remove(self._place, self._changed)

    def _sweep(self) -> None:
        self._notices.arm()
        self._forget_pending()
        self._on_change()

    def _changed(self, _place: Place) -> None:
        if self._pending is None:
            self._pending = self._reactor.callLater(GATHERING, self._gathered)

    def _gathered(self) -> None:
        self._pending = None
        self._on_change()

    def _forget_pending(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
